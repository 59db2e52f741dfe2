//! What the relationship protocols share at the rim: reading truth and predictions, a stream of judged images in the order of
//! the input, figures by group of predicates.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, bail};
use lossmith::frequency::{Candidates, Frequency};
use lossmith::graph::{Edge, GraphError, GraphScores, SceneGraph, Triple};
use lossmith_data::graph_json::{GraphSet, ImageGraph, Prediction, PredictionLines};
use lossmith_data::predicate_groups::{self, Group};
use lossmith_data::scene_graphs::{self, Part};
use lossmith_data::vrd;
use ndarray::Array2;
use rayon::prelude::*;

/// How many predictions are in memory at a time.
const BATCH: usize = 256;

/// What all relationship protocols take.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// What is true: graph JSON, a VRD folder, VG-SGG.h5, Visual Genome JSON, or Open Images CSV
    #[arg(long, value_name = "T")]
    pub truth: PathBuf,
    /// What a model says: JSON lines, one image each
    #[arg(long, value_name = "P", required_unless_present = "baseline", conflicts_with = "baseline")]
    pub predictions: Option<PathBuf>,
    /// Score the frequencies of the training set instead of predictions
    #[arg(long, requires = "train")]
    pub baseline: Option<Baseline>,
    /// The training set, for zero-shot recall and the baselines: as for --truth (a VRD folder means its training split)
    #[arg(long, value_name = "T")]
    pub train: Option<PathBuf>,
    /// The dictionary of VG-SGG.h5; VG-SGG-dicts.json beside it unless given
    #[arg(long, value_name = "FILE")]
    pub dictionary: Option<PathBuf>,
    /// Figures by group of predicates too: 'default' (VRD and VG150 by name) or a JSON file {group: [names]}
    #[arg(long, value_name = "FILE")]
    pub predicate_groups: Option<String>,
    /// Say in words which protocol counted what
    #[arg(long)]
    pub explain: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A baseline that needs no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Baseline {
    /// Frequencies; all pairs are candidates
    Freq,
    /// Frequencies; pairs whose boxes overlap are candidates
    FreqOverlap,
}

/// Where the scores come from.
pub enum Scores {
    /// A file of predictions.
    File(PathBuf),
    /// The frequencies of a training set.
    Frequency(Frequency, Candidates),
}

/// A protocol that judges images one by one.
pub trait Metric: Sync {
    /// What it says of one image.
    type Judged: Send;
    /// Judges one image.
    fn judge(&self, truth: &ImageGraph, scores: &GraphScores) -> Result<Self::Judged, GraphError>;
    /// Adds a judged image.
    fn add(&mut self, image: &Self::Judged);
}

impl Common {
    /// The truth.
    pub fn read_truth(&self, nodes: vrd::Nodes) -> anyhow::Result<GraphSet> {
        scene_graphs::read(&self.truth, Part::Test, nodes, self.dictionary.as_deref()).context("--truth")
    }

    /// The training set, if one is named; it must have the truth's classes.
    pub fn read_train(&self, truth: &GraphSet, nodes: vrd::Nodes) -> anyhow::Result<Option<GraphSet>> {
        let Some(path) = &self.train else { return Ok(None) };
        let train = scene_graphs::read(path, Part::Train, nodes, self.dictionary.as_deref()).context("--train")?;
        if train.vocabulary != truth.vocabulary {
            bail!(
                "--train {}: its classes or predicates are not those of --truth {}",
                path.display(),
                self.truth.display()
            );
        }
        Ok(Some(train))
    }

    /// Where the scores come from.
    pub fn scores(&self, train: Option<&GraphSet>) -> anyhow::Result<Scores> {
        match (&self.predictions, self.baseline, train) {
            (Some(path), _, _) => Ok(Scores::File(path.clone())),
            (None, Some(baseline), Some(train)) => {
                let candidates = match baseline {
                    Baseline::Freq => Candidates::All,
                    Baseline::FreqOverlap => Candidates::Overlapping(Edge::Inclusive),
                };
                let graphs = train.images.iter().map(|i| &i.graph);
                Ok(Scores::Frequency(
                    Frequency::count(graphs, train.vocabulary.predicates.len(), candidates),
                    candidates,
                ))
            }
            _ => bail!("expected --predictions, or --baseline with --train"),
        }
    }

    /// The groups of predicates, if any are asked for.
    pub fn groups(&self, predicates: &[String]) -> anyhow::Result<Vec<Group>> {
        match &self.predicate_groups {
            None => Ok(Vec::new()),
            Some(choice) => Ok(predicate_groups::choose(choice, predicates)?),
        }
    }
}

/// The classes of all relations of a set.
pub fn triples(set: &GraphSet) -> HashSet<Triple> {
    set.images.iter().flat_map(|i| i.graph.located()).map(|l| l.triple).collect()
}

/// Lets a metric see every image of the truth once, and for each group of predicates a copy of it the relations of that group. Images
/// without a prediction have none. Memory: one batch.
pub fn stream<M: Metric>(truth: &GraphSet, scores: &Scores, groups: &[Group], metrics: &mut [M]) -> anyhow::Result<()> {
    let judge = |metrics: &[M], image: &ImageGraph, scores: &GraphScores| -> Result<Vec<M::Judged>, GraphError> {
        let part = |(at, metric): (usize, &M)| match at.checked_sub(1).and_then(|g| groups.get(g)) {
            None => metric.judge(image, scores),
            Some((_, own)) => metric.judge(&only(image, own), scores),
        };
        metrics.iter().enumerate().map(part).collect()
    };
    let add = |metrics: &mut [M], judged: Vec<M::Judged>| {
        metrics.iter_mut().zip(&judged).for_each(|(metric, image)| metric.add(image));
    };
    match scores {
        Scores::Frequency(frequency, candidates) => {
            for batch in truth.images.chunks(BATCH) {
                let judged: Vec<_> = batch
                    .par_iter()
                    .map(|image| {
                        let scores = frequency.predict(&image.graph.boxes, &image.graph.labels, *candidates);
                        judge(metrics, image, &scores).with_context(|| format!("image {}", image.image))
                    })
                    .collect::<anyhow::Result<_>>()?;
                judged.into_iter().for_each(|j| add(metrics, j));
            }
        }
        Scores::File(path) => {
            let place: HashMap<&str, usize> =
                truth.images.iter().enumerate().map(|(at, i)| (i.image.as_str(), at)).collect();
            let mut seen = vec![None; truth.images.len()];
            let mut lines = PredictionLines::open(path).context("--predictions")?;
            loop {
                let batch = lines.batch(BATCH)?;
                if batch.is_empty() {
                    break;
                }
                let judged: Vec<_> = batch
                    .par_iter()
                    .map(|(number, line)| {
                        let prediction = Prediction::parse(path, *number, line)?;
                        let record = format!("{}, line {number}: image {}", path.display(), prediction.image);
                        let place = place.get(prediction.image.as_str());
                        let at = *place.with_context(|| format!("{record} is not in the truth"))?;
                        let image = &truth.images[at];
                        let scores = prediction.scores(&image.graph);
                        check(&scores, image, truth).map_err(|message| anyhow::anyhow!("{record}: {message}"))?;
                        let judged = judge(metrics, image, &scores).with_context(|| record.clone())?;
                        Ok((at, *number, record, judged))
                    })
                    .collect::<anyhow::Result<_>>()?;
                for (at, number, record, judged) in judged {
                    if let Some(earlier) = seen[at].replace(number) {
                        bail!("{record} is there already, in line {earlier}");
                    }
                    add(metrics, judged);
                }
            }
            let empty = nothing(truth.vocabulary.predicates.len());
            for image in truth.images.iter().zip(&seen).filter(|(_, line)| line.is_none()).map(|(image, _)| image) {
                let none = GraphScores {
                    boxes: image.graph.boxes.clone(),
                    labels: image.graph.labels.clone(),
                    scores: vec![1.0; image.graph.boxes.len()],
                    ..empty.clone()
                };
                let judged = judge(metrics, image, &none).with_context(|| format!("image {}", image.image))?;
                add(metrics, judged);
            }
            let missing = seen.iter().filter(|line| line.is_none()).count();
            if missing > 0 {
                tracing::warn!("{missing} of {} images have no prediction; they count as nothing found", seen.len());
            }
        }
    }
    Ok(())
}

/// What the image and the names of the truth say about a prediction, whatever the protocol.
fn check(scores: &GraphScores, image: &ImageGraph, truth: &GraphSet) -> Result<(), String> {
    scores.check_width(truth.vocabulary.predicates.len()).map_err(|e| e.to_string())?;
    let classes = truth.vocabulary.objects.len();
    if let Some(at) = scores.labels.iter().position(|&l| l as usize >= classes) {
        return Err(format!("label {at} is {}, but there are {classes} classes, counted from 0", scores.labels[at]));
    }
    image.check_inside(&scores.boxes)
}

fn nothing(predicates: usize) -> GraphScores {
    GraphScores {
        boxes: vec![],
        labels: vec![],
        scores: vec![],
        pairs: vec![],
        predicates: Array2::zeros((0, predicates + 1)),
    }
}

/// The image with the relations of a group alone.
fn only(image: &ImageGraph, predicates: &[u32]) -> ImageGraph {
    let relations = image.graph.relations.iter().copied().filter(|r| predicates.contains(&r.predicate)).collect();
    ImageGraph {
        graph: SceneGraph { boxes: image.graph.boxes.clone(), labels: image.graph.labels.clone(), relations },
        ..image.clone()
    }
}

/// A share as a percentage with two digits.
pub fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}
