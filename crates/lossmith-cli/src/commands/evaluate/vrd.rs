//! `lossmith evaluate vrd`.

use clap::ValueEnum;
use lossmith::graph::{GraphError, GraphScores};
use lossmith::metric::vrd::{CUTS, Image, Matcher, PerPair, Protocol, Report, Task, Vrd};
use lossmith_data::graph_json::ImageGraph;
use lossmith_data::vrd::Nodes;

use super::relations::{Common, FORMAT, Metric, percent, stream, triples};
use crate::output::{Answer, Table, print, print_json};

/// The arguments of `evaluate vrd`.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMAT)]
pub struct Args {
    /// What is to be found
    #[arg(long, default_value = "relationship")]
    task: TaskName,
    /// How many predicates of a pair are candidates: a number, or 'free' for the best of 1..10, 15, 20, 70
    #[arg(long, default_value = "1", value_parser = per_pair)]
    k: PerPair,
    /// Who counts as found: as Lu et al. (one-to-one), as vrd-dsr, or as RelDN (cover)
    #[arg(long, default_value = "one-to-one")]
    matcher: MatcherName,
    /// Only relations whose classes were never seen together in training
    #[arg(long, requires = "train")]
    zero_shot: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TaskName {
    /// Both boxes and all three classes
    Relationship,
    /// The box around both, and all three classes
    Phrase,
    /// The predicate of annotated pairs
    Predicate,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MatcherName {
    /// As Lu et al.: each detection takes one relation
    OneToOne,
    /// As vrd-dsr: the same, but of relations overlapped equally the later is taken
    VrdDsr,
    /// As RelDN: a detection covers every relation it fits
    Cover,
}

fn per_pair(text: &str) -> Result<PerPair, String> {
    match text {
        "free" => Ok(PerPair::Free),
        number => match number.parse() {
            Ok(k) if k > 0 => Ok(PerPair::Fixed(k)),
            _ => Err("expected 1, 10, 70, any other number from 1, or 'free'".to_owned()),
        },
    }
}

impl Metric for Vrd {
    type Judged = Image;

    fn judge(&self, truth: &ImageGraph, scores: &GraphScores) -> Result<Image, GraphError> {
        Vrd::judge(self, &truth.graph, scores)
    }

    fn add(&mut self, image: &Image) {
        Vrd::add(self, image);
    }
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let truth = args.common.read_truth(Nodes::LabelledBoxes)?;
    let train = args.common.read_train(&truth, Nodes::LabelledBoxes)?;
    let groups = args.common.groups(&truth.vocabulary.predicates)?;
    let metric = Vrd::new(Protocol {
        task: match args.task {
            TaskName::Relationship => Task::Relationship,
            TaskName::Phrase => Task::Phrase,
            TaskName::Predicate => Task::Predicate,
        },
        matcher: match args.matcher {
            MatcherName::OneToOne => Matcher::OneToOne,
            MatcherName::VrdDsr => Matcher::VrdDsr,
            MatcherName::Cover => Matcher::Cover,
        },
        per_pair: args.k,
        predicates: truth.vocabulary.predicates.len(),
        zero_shot: train.as_ref().filter(|_| args.zero_shot).map(triples),
    });
    let mut metrics = vec![metric; groups.len() + 1];
    stream(&truth, &args.common.scores(train.as_ref())?, &groups, &mut metrics)?;
    let names = std::iter::once("all").chain(groups.iter().map(|(name, _)| name.as_str()));
    let reports: Vec<(&str, Report)> = names.zip(&metrics).map(|(name, metric)| (name, metric.report())).collect();
    if args.common.json {
        let groups: std::collections::BTreeMap<_, _> = reports.iter().map(|(n, r)| (*n, r)).collect();
        print_json(&serde_json::json!({"protocol": "vrd", "groups": groups}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(
        ["predicates".to_owned(), "rows".to_owned()]
            .into_iter()
            .chain(CUTS.map(|n| format!("R@{n}")))
            .chain(CUTS.map(|n| format!("k@{n}"))),
    );
    for (name, report) in &reports {
        let recalls = report.recall.map(percent);
        let k = report.k.map(|k| k.to_string());
        table.row([(*name).to_owned(), report.rows.to_string()].into_iter().chain(recalls).chain(k));
    }
    let explained = if args.common.explain { explain(&reports[0].1) } else { String::new() };
    print(&format!("{table}{explained}"))?;
    Ok(Answer::Yes)
}

fn explain(report: &Report) -> String {
    let found = match report.task {
        Task::Relationship => "both boxes overlap those of the relation by at least a half",
        Task::Phrase => "the box around both overlaps that of the relation by at least a half",
        Task::Predicate => "the candidates are the annotated pairs themselves, so only the predicate can be wrong",
    };
    let who = match report.matcher {
        Matcher::OneToOne => {
            "each detection, best first, takes the free relation of its classes that it overlaps most (Lu et al.)"
        }
        Matcher::VrdDsr => {
            "each detection, best first, takes the free relation of its classes that it overlaps most, of equals the later (vrd-dsr)"
        }
        Matcher::Cover => "a detection covers every relation of its classes that it overlaps enough (RelDN)",
    };
    let rows =
        if report.zero_shot { "relations whose classes training never showed together" } else { "annotated rows" };
    format!(
        "\nVRD protocol. A relation is found if the three classes are right and {found}; overlap counts the pixel at the end.\n\
         Matching: {who}.\nEach pair offers its k best predicates, an image its N best triplets (subject * object * predicate).\n\
         Recall is pooled: found rows by all {} {rows} of {} images, doubles included.\n\
         Ties: by score, then by the place of the pair, then by predicate number.{}\n",
        report.rows,
        report.images,
        match report.rows_without_prediction {
            0 => String::new(),
            missing => format!("\n{missing} annotated rows have no prediction for their pair and count as not found."),
        }
    )
}
