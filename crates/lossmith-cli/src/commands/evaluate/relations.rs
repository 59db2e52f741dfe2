//! What the relationship protocols share at the rim: reading truth and predictions, a stream of judged images in the order of
//! the input, figures by group of predicates.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, bail};
use lossmith::frequency::{Candidates, Frequency};
use lossmith::graph::{Edge, GraphError, GraphScores, SceneGraph, Triple};
use lossmith_data::graph_json::{GraphSet, ImageGraph};
use lossmith_data::predicate_groups::{self, Group};
use lossmith_data::predictions::Predictions;
use lossmith_data::scene_graphs::{self, Part};
use lossmith_data::vrd;
use ndarray::Array2;
use rayon::prelude::*;

/// How many predictions are in memory at a time.
const BATCH: usize = 256;

/// The form of predictions, for the help of all relationship protocols.
pub const FORMAT: &str = "\
Predictions are JSON lines, one image each, or one JSON list of such; either may be gzip. One image (on one line where it is a line):\n\n\
  {\"image\": \"a.jpg\",\n\
   \"boxes\": [[10, 20, 110, 220], [90, 100, 130, 140]],\n\
   \"labels\": [0, 1], \"scores\": [0.9, 0.8],\n\
   \"pairs\": [[0, 1], [1, 0]],\n\
   \"predicates\": [[0.1, 0.7, 0.2], [0.9, 0, 0.1]]}\n\n\
`image` is the truth's name of it. `boxes` are x1, y1, x2, y2, each with a label and a score; boxes and labels are the truth's unless given,\n\
scores 1. `pairs` are subject and object, places in boxes from 0. `predicates` has a row for each pair: the scores of none, predicate 1,\n\
predicate 2, ... Predicates count from 1 everywhere. Labels count as the truth's do: from 0 in graph JSON, VRD and Open Images (classes in\n\
alphabetical order), from 1 in VG-SGG.h5.\n\n\
Scores are ranked and not weighed: any finite numbers do, rows need not add up to 1, a pair may be there twice (not for --task predicate),\n\
and so may a box with another label, unless labels are given. They are multiplied by those of the boxes: keep them at 0 or more where those\n\
are not 1. The score of none is not ranked.\n\n\
The same as numpy's arrays: FILE.npz with IMAGE/boxes, IMAGE/pairs, IMAGE/predicates, ..., or FILE.pkl, a pickled list of such dictionaries or\n\
a dictionary of them by image. Neural Motifs' keys (pred_boxes, pred_classes, obj_scores, pred_rel_inds, rel_scores) do as well; a list\n\
without 'image' has one entry for each image of the truth, in its order. A pickle is never run: what is not plain data is refused by name.";

/// What all relationship protocols take.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// What is true: graph JSON, a VRD folder, VG-SGG.h5, Visual Genome JSON, or Open Images CSV
    #[arg(long, value_name = "T")]
    pub truth: PathBuf,
    /// What a model says: JSON lines, a JSON list, .npz or .pkl (see below)
    #[arg(long, value_name = "P", required_unless_present = "baseline", conflicts_with = "baseline")]
    pub predictions: Option<PathBuf>,
    /// Score the frequencies of the training set instead of predictions
    #[arg(long, requires = "train")]
    pub baseline: Option<Baseline>,
    /// The training set, for zero-shot recall and the baselines: as for --truth (a VRD folder means its training split)
    #[arg(long, value_name = "T")]
    pub train: Option<PathBuf>,
    /// The dictionary of VG-SGG.h5; VG-SGG-dicts.json or VG-SGG-dicts-with-attri.json beside it unless given
    #[arg(long, value_name = "FILE")]
    pub dictionary: Option<PathBuf>,
    /// Figures by group of predicates too: 'default' (VRD and VG150 by name) or a JSON file {group: [names]}
    #[arg(long, value_name = "FILE")]
    pub predicate_groups: Option<String>,
    /// Leave out predictions that are wrong, and count them, instead of stopping at the first
    #[arg(long, requires = "predictions")]
    pub skip_bad: bool,
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
    /// A file of predictions, and whether wrong ones are left out.
    File { path: PathBuf, skip_bad: bool },
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
            (Some(path), _, _) => Ok(Scores::File { path: path.clone(), skip_bad: self.skip_bad }),
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
        Scores::File { path, skip_bad } => {
            let place: HashMap<&str, usize> =
                truth.images.iter().enumerate().map(|(at, i)| (i.image.as_str(), at)).collect();
            let mut seen: Vec<Option<String>> = vec![None; truth.images.len()];
            let (mut skipped, mut first) = (0usize, None);
            let mut entries = Predictions::open(path, truth).context("--predictions")?;
            loop {
                let batch = entries.batch(BATCH)?;
                if batch.is_empty() {
                    break;
                }
                let judged: Vec<_> = batch
                    .par_iter()
                    .map(|entry| {
                        let prediction = entry.read(path)?;
                        let record = format!("{}, {}: image {}", path.display(), entry.place, prediction.image);
                        let place = place.get(prediction.image.as_str());
                        let at = *place.with_context(|| format!("{record} is not in the truth"))?;
                        let image = &truth.images[at];
                        let scores = prediction.scores(&image.graph);
                        check(&scores, image, truth).map_err(|message| anyhow::anyhow!("{record}: {message}"))?;
                        let judged = judge(metrics, image, &scores).with_context(|| record.clone())?;
                        Ok((at, record, judged))
                    })
                    .collect::<Vec<anyhow::Result<_>>>();
                for (judged, entry) in judged.into_iter().zip(&batch) {
                    let fault = match judged {
                        Ok((at, record, judged)) => match &seen[at] {
                            None => {
                                seen[at] = Some(entry.place.clone());
                                add(metrics, judged);
                                continue;
                            }
                            Some(earlier) => anyhow::anyhow!("{record} is there already, in {earlier}"),
                        },
                        Err(fault) => fault,
                    };
                    if !skip_bad {
                        return Err(fault);
                    }
                    skipped += 1;
                    first.get_or_insert(fault);
                }
            }
            if let Some(first) = first {
                tracing::warn!(
                    "{}: {skipped} predictions are wrong and left out; the first: {first:#}",
                    path.display()
                );
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
