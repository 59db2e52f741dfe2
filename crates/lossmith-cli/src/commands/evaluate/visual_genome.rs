//! `lossmith evaluate visual-genome`.

use clap::ValueEnum;
use lossmith::graph::{GraphError, GraphScores};
use lossmith::metric::visual_genome::{CUTS, Image, Mode, Recall, Report, VisualGenome};
use lossmith_data::graph_json::ImageGraph;
use lossmith_data::vrd::Nodes;

use super::relations::{Common, FORMAT, Metric, percent, stream, triples};
use crate::output::{Answer, Table, print, print_json};

/// The arguments of `evaluate visual-genome`.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMAT)]
pub struct Args {
    /// What is given and what is predicted
    #[arg(long, default_value = "predcls")]
    mode: ModeName,
    /// Show the figures without graph constraint (ng-R@K)
    #[arg(long)]
    no_constraint: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    /// Boxes and classes are given
    Predcls,
    /// Boxes are given
    Sgcls,
    /// Nothing is given
    Sgdet,
}

impl Metric for VisualGenome {
    type Judged = Image;

    fn judge(&self, truth: &ImageGraph, scores: &GraphScores) -> Result<Image, GraphError> {
        VisualGenome::judge(self, &truth.graph, scores)
    }

    fn add(&mut self, image: &Image) {
        VisualGenome::add(self, image);
    }
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let truth = args.common.read_truth(Nodes::Boxes)?;
    let train = args.common.read_train(&truth, Nodes::Boxes)?;
    let groups = args.common.groups(&truth.vocabulary.predicates)?;
    let mode = match args.mode {
        ModeName::Predcls => Mode::PredCls,
        ModeName::Sgcls => Mode::SgCls,
        ModeName::Sgdet => Mode::SgDet,
    };
    let metric = VisualGenome::new(mode, truth.vocabulary.predicates.len(), train.as_ref().map(triples));
    let of_groups: Vec<VisualGenome> = groups.iter().map(|(_, own)| metric.clone().over(own)).collect();
    let mut metrics = [vec![metric], of_groups].concat();
    stream(&truth, &args.common.scores(train.as_ref())?, &groups, &mut metrics)?;
    let names = std::iter::once("all").chain(groups.iter().map(|(name, _)| name.as_str()));
    let reports: Vec<(&str, Report)> = names.zip(&metrics).map(|(name, metric)| (name, metric.report())).collect();
    if args.common.json {
        print_json(
            &serde_json::json!({"protocol": "visual-genome", "groups": reports.iter().map(|(n, r)| (*n, r)).collect::<std::collections::BTreeMap<_, _>>()}),
        )?;
        return Ok(Answer::Yes);
    }
    let mut text = String::new();
    for (name, report) in &reports {
        text += &format!(
            "{name}: {} images, {} relations\n{}",
            report.images,
            report.relations,
            table(report, args.no_constraint)
        );
    }
    if args.common.explain {
        text += &explain(&reports[0].1, args.no_constraint);
    }
    print(&text)?;
    Ok(Answer::Yes)
}

fn table(report: &Report, no_constraint: bool) -> Table {
    let (recall, prefix): (&Recall, &str) =
        if no_constraint { (&report.no_constraint, "ng-") } else { (&report.constraint, "") };
    let mut table = Table::new(["measure".to_owned()].into_iter().chain(CUTS.map(|k| format!("@{k}"))));
    let mut row = |name: String, shares: [f64; 3]| table.row([name].into_iter().chain(shares.map(percent)));
    row(format!("{prefix}R, mean over images"), recall.mean);
    row(format!("{prefix}R, pooled"), recall.pooled);
    row(format!("{prefix}mR, mean over predicates"), recall.mean_recall);
    row(format!("{prefix}F1 of R and mR"), recall.f1);
    if let Some(zero_shot) = recall.zero_shot {
        row(format!("{prefix}zR, classes new together"), zero_shot);
    }
    if let (false, Some(accuracy)) = (no_constraint, report.annotated_pairs) {
        row("A, annotated pairs only".to_owned(), accuracy);
    }
    table
}

fn explain(report: &Report, no_constraint: bool) -> String {
    let given = match report.mode {
        Mode::PredCls => "Boxes and classes are given (their scores count as 1), predicates are predicted",
        Mode::SgCls => "Boxes are given, classes and predicates are predicted",
        Mode::SgDet => "Boxes, classes and predicates are predicted",
    };
    let ranked = if no_constraint {
        "All predicates of all pairs are ranked, the first 100 kept (no graph constraint)"
    } else {
        "Each pair offers its best predicate (graph constraint)"
    };
    format!(
        "\nVisual Genome protocol of Neural Motifs. {given}.\n{ranked}; score = product of subject, object and predicate.\n\
         A relation is found if a triplet among the first K has its three classes and both boxes overlap by at least a half (pixel at the end \
         counted);\na triplet may find several relations (cover).\n\
         R@K is the mean of the images' recalls; 'pooled' counts relations instead. mR@K: KERN; predicates that never occur count 0.\n\
         A@K ranks the annotated pairs alone: it is what RelDN's table shows as PRDCLS and SGCLS, and no recall of this protocol.\n\
         Ties: by score, then by the place of the pair, then by predicate number. {} images without relations are left out.\n",
        report.images_without_relations
    )
}
