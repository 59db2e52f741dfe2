//! `lossmith evaluate openimages-vrd`.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum;
use lossmith::graph::{GraphError, GraphScores};
use lossmith::metric::openimages_vrd::{
    Challenge, ChallengeImage, ChallengeReport, RELDN_CUTS, Reldn, ReldnImage, ReldnReport, reldn_detections,
};
use lossmith_data::graph_json::{GraphSet, ImageGraph};
use lossmith_data::openimages;
use lossmith_data::vrd::Nodes;

use super::relations::{Common, FORMAT, Metric, percent, stream};
use crate::output::{Answer, Table, print, print_json};

/// The arguments of `evaluate openimages-vrd`.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMAT)]
pub struct Args {
    /// Whose evaluation: the official challenge tool (normalised boxes) or the one behind RelDN's tables (pixels)
    #[arg(long, default_value = "challenge")]
    tool: Tool,
    /// Image-level labels (CSV), for the challenge tool
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// The official tool of the Open Images challenge
    Challenge,
    /// The evaluator of RelDN and its successors
    Reldn,
}

impl Metric for Challenge {
    type Judged = ChallengeImage;

    fn judge(&self, truth: &ImageGraph, scores: &GraphScores) -> Result<ChallengeImage, GraphError> {
        scores.check()?;
        scores.check_no_loops()?;
        let verified = truth.verified.iter().copied().collect();
        Ok(Challenge::judge(self, &truth.graph.located(), &verified, &reldn_detections(scores)))
    }

    fn add(&mut self, image: &ChallengeImage) {
        Challenge::add(self, image);
    }
}

impl Metric for Reldn {
    type Judged = ReldnImage;

    fn judge(&self, truth: &ImageGraph, scores: &GraphScores) -> Result<ReldnImage, GraphError> {
        scores.check()?;
        scores.check_no_loops()?;
        Ok(Reldn::judge(self, &truth.graph.located(), &reldn_detections(scores)))
    }

    fn add(&mut self, image: &ReldnImage) {
        Reldn::add(self, image);
    }
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let truth = match args.common.truth.extension().and_then(|e| e.to_str()) {
        Some("csv") => openimages::read_truth(&args.common.truth, args.labels.as_deref()).context("--truth")?,
        _ if args.labels.is_some() => {
            bail!("--labels: goes with a --truth in CSV; in JSON each image has its own 'verified'")
        }
        _ => args.common.read_truth(Nodes::Boxes)?,
    };
    check_units(args.tool, &truth)?;
    let predictions = args.common.predictions.as_deref();
    if let Some(csv) = predictions.filter(|p| p.extension().is_some_and(|e| e == "csv")) {
        if args.common.predicate_groups.is_some() {
            bail!("--predicate-groups: goes with predictions in JSON lines");
        }
        let mut found = openimages::read_predictions(csv, &truth, args.common.skip_bad).context("--predictions")?;
        if let Some(first) = &found.first {
            tracing::warn!(
                "{}: {} rows are wrong or name what the truth does not have, and find nothing; the first: {first}",
                csv.display(),
                found.wrong
            );
        }
        let (mut challenge, mut reldn) = (Challenge::new(), Reldn::new(truth.vocabulary.predicates.len()));
        for image in &truth.images {
            let mut list = found.images.remove(&image.image).unwrap_or_default();
            let (relations, verified) =
                (image.graph.located(), image.verified.iter().copied().collect::<HashSet<u32>>());
            list.sort_by(|a, b| b.score.total_cmp(&a.score));
            match args.tool {
                Tool::Challenge => challenge.add(&challenge.judge(&relations, &verified, &list)),
                Tool::Reldn => reldn.add(&reldn.judge(&relations, &list)),
            }
        }
        return match args.tool {
            Tool::Challenge => show(args, &[("all", challenge.report())], challenge_table, CHALLENGE),
            Tool::Reldn => show(args, &[("all", reldn.report())], reldn_table, RELDN),
        };
    }
    let train = args.common.read_train(&truth, Nodes::Boxes)?;
    let groups = args.common.groups(&truth.vocabulary.predicates)?;
    let scores = args.common.scores(train.as_ref())?;
    let names = || std::iter::once("all").chain(groups.iter().map(|(name, _)| name.as_str()));
    match args.tool {
        Tool::Challenge => {
            let mut metrics = vec![Challenge::new(); groups.len() + 1];
            stream(&truth, &scores, &groups, &mut metrics)?;
            let reports: Vec<_> = names().zip(metrics.iter().map(Challenge::report)).collect();
            show(args, &reports, challenge_table, CHALLENGE)
        }
        Tool::Reldn => {
            let metric = Reldn::new(truth.vocabulary.predicates.len());
            let of_groups: Vec<Reldn> = groups.iter().map(|(_, own)| metric.clone().over(own)).collect();
            let mut metrics = [vec![metric], of_groups].concat();
            stream(&truth, &scores, &groups, &mut metrics)?;
            let reports: Vec<_> = names().zip(metrics.iter().map(Reldn::report)).collect();
            show(args, &reports, reldn_table, RELDN)
        }
    }
}

/// RelDN's evaluator counts pixels: on normalised boxes every overlap would be nearly 1.
fn check_units(tool: Tool, truth: &GraphSet) -> anyhow::Result<()> {
    let mut corners = truth.images.iter().flat_map(|i| &i.graph.boxes).flatten();
    if tool == Tool::Reldn && corners.all(|&v| v <= 1.0) && truth.images.iter().any(|i| !i.graph.boxes.is_empty()) {
        bail!(
            "--tool reldn counts pixels, and all boxes of --truth are within 0..1: give boxes in pixels, or use --tool challenge"
        );
    }
    Ok(())
}

const CHALLENGE: &str = "\nOpen Images challenge tool: detections count where both classes are verified for the image, or either is verified absent.\n\
    A detection is right if the triplet of its classes that it overlaps most, by at least a half (f32, no pixel added), is still free.\n\
    mAP is the plain mean over the predicates of the truth; score = 0.4 mAP(relation) + 0.2 R@50 + 0.4 mAP(phrase).\n\
    'pooled AP' is what that tool calls weightedAP. From JSON lines the list is cut as RelDN does: 2 predicates a pair, 100 triplets, above 1e-5.\n";
const RELDN: &str = "\nRelDN's evaluator, not the challenge tool: 2 predicates a pair, the 100 best triplets of an image above 1e-5; overlap counts the pixel at the end.\n\
    R@K: a triplet covers every relation of its classes with both overlaps at least a half; pooled over the images.\n\
    AP: overlap of more than a half, each relation once. wmAP weighs predicates by their frequency in the truth;\n\
    score_wtd = 0.4 wmAP(relation) + 0.2 R@50 + 0.4 wmAP(phrase). No filter by image-level labels.\n";

fn show<R: serde::Serialize>(
    args: &Args,
    reports: &[(&str, R)],
    table: fn(&R) -> Table,
    explanation: &str,
) -> anyhow::Result<Answer> {
    if args.common.json {
        let tool = if args.tool == Tool::Challenge { "challenge" } else { "reldn" };
        let groups: std::collections::BTreeMap<_, _> = reports.iter().map(|(name, report)| (*name, report)).collect();
        print_json(&serde_json::json!({"protocol": "openimages-vrd", "tool": tool, "groups": groups}))?;
        return Ok(Answer::Yes);
    }
    let mut text = String::new();
    for (name, report) in reports {
        text += &format!("{name}\n{}", table(report));
    }
    if args.common.explain {
        text += explanation;
    }
    print(&text)?;
    Ok(Answer::Yes)
}

fn challenge_table(report: &ChallengeReport) -> Table {
    let mut table = Table::new(["measure", "relation", "phrase"]);
    let (relation, phrase) = (&report.relation, &report.phrase);
    table.row(["mAP".to_owned(), percent(relation.map), percent(phrase.map)]);
    table.row(["pooled AP".to_owned(), percent(relation.pooled_ap), percent(phrase.pooled_ap)]);
    table.row(["R@50".to_owned(), percent(relation.recall[0]), percent(phrase.recall[0])]);
    table.row(["R@100".to_owned(), percent(relation.recall[1]), percent(phrase.recall[1])]);
    table.row(["score".to_owned(), percent(report.score)]);
    table
}

fn reldn_table(report: &ReldnReport) -> Table {
    let mut table = Table::new(["measure", "value"]);
    for (k, recall) in RELDN_CUTS.iter().zip(report.recall) {
        table.row([format!("R@{k}"), percent(recall)]);
    }
    for (name, value) in [
        ("wmAP of relations", report.wmap_relation),
        ("wmAP of phrases", report.wmap_phrase),
        ("mAP of relations", report.map_relation),
        ("mAP of phrases", report.map_phrase),
        ("score_wtd", report.score_wtd),
        ("score", report.score),
    ] {
        table.row([name.to_owned(), percent(value)]);
    }
    table
}
