//! Scene graphs whose nodes come with a feature vector: what a model of scene graphs sees where there are no images.
//!
//! A folder holds `vocabulary.json`, `train.jsonl` and `test.jsonl`; one line (or one entry of a list) is one scene:
//!
//! ```json
//! {"boxes": [[0,0,9,9], ...], "labels": [3, ...], "relations": [{"subject":0,"object":1,"predicate":2}], "features": [[0.1, ...], ...]}
//! ```
//!
//! Class 0 is background, predicate 0 is none.

use std::path::Path;

use lossmith::graph::{SceneGraph, Vocabulary};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::graph_json::{GraphSet, ImageGraph};
use crate::make::hubs;
use crate::records::JsonRecords;
use crate::scene_graphs::{self, Part};
use crate::source::Source;
use crate::vrd::Nodes;
use crate::{DataError, Result, atomic, limits, whole_text};

/// The file that makes a folder one of scenes with vectors.
pub const VOCABULARY: &str = "vocabulary.json";
/// What class 0 is called where the annotations have none.
const BACKGROUND: &str = "__background__";

/// The most nodes of a scene: all ordered pairs of them are looked at.
pub const MOST_NODES: usize = 1_000;

/// One scene.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeGraph {
    /// Boxes, labels and relations.
    #[serde(flatten)]
    pub graph: SceneGraph,
    /// One vector per node, all of one length.
    pub features: Vec<Vec<f32>>,
}

/// Scenes to train on and to test on.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeGraphs {
    /// What classes and predicates are called, and how the scenes were made.
    pub about: About,
    /// Scenes to train on.
    pub train: Vec<NodeGraph>,
    /// Scenes to test on.
    pub test: Vec<NodeGraph>,
}

/// What classes and predicates are called, and how the scenes were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The names; object 0 is background.
    #[serde(flatten)]
    pub vocabulary: Vocabulary,
    /// The generator's settings, if a generator made the scenes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hubs: Option<hubs::Settings>,
}

impl NodeGraphs {
    /// Reads a folder.
    ///
    /// # Errors
    /// A file is missing or is no JSON; a scene has another number of vectors than nodes, vectors of different lengths, a
    /// label or predicate without a name, a relation to a missing node, or more than [`MOST_NODES`] nodes.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(VOCABULARY);
        let text = whole_text(&path)?;
        let about: About = serde_json::from_str(&text)
            .map_err(|e| DataError::Content { path: path.clone(), message: e.to_string() })?;
        let mut width = None;
        let train = read_scenes(&folder.join("train.jsonl"), &about.vocabulary, &mut width)?;
        let test = read_scenes(&folder.join("test.jsonl"), &about.vocabulary, &mut width)?;
        Ok(Self { about, train, test })
    }

    /// Scenes from a folder of node vectors, or from annotations: VRD, graphs as JSON, Visual Genome (see `scene_graphs`).
    ///
    /// Annotations have no vectors: their nodes show [`noisy_labels`]. Relations of a node with itself, which no pair could say, and
    /// images without any other relation are left out.
    ///
    /// # Errors
    /// Nothing that is known, or a fault of its reader.
    pub fn open(path: &Path, confusion: f64, seed: u64) -> Result<Self> {
        if path.join(VOCABULARY).is_file() {
            return Self::read(path);
        }
        let [train, test] = [Part::Train, Part::Test].map(|part| scene_graphs::read(path, part, Nodes::Boxes, None));
        Self::from_graphs(train?, test?, confusion, seed).map_err(|e| DataError::content(path, e.to_string()))
    }

    /// Scenes from annotations. Class 0 becomes background, unless it is that already.
    ///
    /// # Errors
    /// The parts have other names, an image has more than [`MOST_NODES`] nodes, or the confusion is no probability.
    pub fn from_graphs(train: GraphSet, test: GraphSet, confusion: f64, seed: u64) -> Result<Self> {
        if train.vocabulary != test.vocabulary {
            return Err(DataError::Argument("the parts name other classes or predicates".to_owned()));
        }
        let mut vocabulary = train.vocabulary.clone();
        let shift = u32::from(vocabulary.objects.first().is_none_or(|name| name != BACKGROUND));
        if shift == 1 {
            vocabulary.objects.insert(0, BACKGROUND.to_owned());
        }
        let classes = vocabulary.objects.len();
        let nodes: usize =
            [&train, &test].iter().flat_map(|set| &set.images).map(|image| image.graph.boxes.len()).sum();
        check_vectors(nodes, classes)?;
        let scenes = |mut set: GraphSet, part: u64| -> Result<Vec<NodeGraph>> {
            set.images.iter_mut().for_each(|image| image.graph.relations.retain(|r| r.subject != r.object));
            let related = set.images.into_iter().enumerate().filter(|(_, image)| !image.graph.relations.is_empty());
            let scene = |(at, image): (usize, ImageGraph)| {
                let mut graph = image.graph;
                graph.labels.iter_mut().for_each(|label| *label += shift);
                let features = noisy_labels(&graph.labels, classes, confusion, seed ^ part << 48 ^ (at as u64) << 16);
                let scene = NodeGraph { features: features?, graph };
                check(&scene, &vocabulary, &mut None)
                    .map_err(|e| DataError::Argument(format!("image {}: {e}", image.image)))?;
                Ok(scene)
            };
            related.map(scene).collect()
        };
        let (train, test) = (scenes(train, 1)?, scenes(test, 2)?);
        Ok(Self { about: About { vocabulary, hubs: None }, train, test })
    }

    /// Writes a new folder, whole or not at all.
    ///
    /// # Errors
    /// The folder is there already, or the system refuses.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let fault = |e: serde_json::Error| DataError::Argument(e.to_string());
        atomic::folder_with(folder, |folder| {
            for (name, scenes) in [("train.jsonl", &self.train), ("test.jsonl", &self.test)] {
                let mut text = String::new();
                for scene in scenes {
                    text += &serde_json::to_string(scene).map_err(fault)?;
                    text.push('\n');
                }
                atomic::write(&folder.join(name), text.as_bytes())?;
            }
            let about = serde_json::to_vec_pretty(&self.about).map_err(fault)?;
            atomic::write(&folder.join(VOCABULARY), &about)
        })
    }

    /// The length of the nodes' vectors.
    pub fn width(&self) -> usize {
        self.train.iter().chain(&self.test).find_map(|s| s.features.first()).map_or(0, Vec::len)
    }
}

/// Refuses what would take more than is allowed: a vector as long as there are classes for every node.
fn check_vectors(nodes: usize, classes: usize) -> Result<()> {
    let (bytes, most) = (nodes as u128 * classes as u128 * size_of::<f32>() as u128, limits::current().bytes);
    if bytes <= u128::from(most) {
        return Ok(());
    }
    let message = format!("a vector of {classes} classes for each of its {nodes} boxes: {}", limits::exceeded());
    Err(DataError::argument(message))
}

fn read_scenes(path: &Path, names: &Vocabulary, width: &mut Option<usize>) -> Result<Vec<NodeGraph>> {
    let mut scenes = Vec::new();
    for record in JsonRecords::new(path, Source::open(path)?, false)? {
        let (place, text) = record?;
        let wrong = |message: String| DataError::record(path, place.clone(), message);
        let scene: NodeGraph = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        check(&scene, names, width).map_err(wrong)?;
        scenes.push(scene);
    }
    Ok(scenes)
}

fn check(scene: &NodeGraph, names: &Vocabulary, width: &mut Option<usize>) -> std::result::Result<(), String> {
    let nodes = scene.graph.labels.len();
    if nodes > MOST_NODES {
        return Err(format!("has {nodes} nodes, at most {MOST_NODES} are read"));
    }
    scene.graph.check(names.predicates.len()).map_err(|e| e.to_string())?;
    if let Some(label) = scene.graph.labels.iter().find(|&&label| label as usize >= names.objects.len()) {
        return Err(format!("label {label} has no name; vocabulary.json names 0 to {}", names.objects.len() - 1));
    }
    if scene.features.len() != nodes {
        return Err(format!("{} feature vectors for {nodes} nodes, expected as many", scene.features.len()));
    }
    for (node, vector) in scene.features.iter().enumerate() {
        let expected = *width.get_or_insert(vector.len());
        if vector.len() != expected {
            return Err(format!("feature vector {node} has {} numbers, the others have {expected}", vector.len()));
        }
        if let Some(bad) = vector.iter().find(|v| !v.is_finite()) {
            return Err(format!("feature vector {node} holds {bad}, expected finite numbers"));
        }
    }
    Ok(())
}

/// Feature vectors where there are no images: for each node a label seen through noise, one-hot over `classes`.
///
/// With probability `confusion` the label seen is any other class but background, each equally likely.
///
/// # Errors
/// A label that is not below `classes`, or a confusion that is no probability.
pub fn noisy_labels(labels: &[u32], classes: usize, confusion: f64, seed: u64) -> Result<Vec<Vec<f32>>> {
    if !(0.0..=1.0).contains(&confusion) || classes < 3 {
        let message =
            format!("expected a confusion from 0 to 1 and three classes or more, found {confusion} and {classes}");
        return Err(DataError::Argument(message));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let seen = |&label: &u32| {
        let label = label as usize;
        if label >= classes {
            return Err(DataError::Argument(format!("expected labels below {classes}, found {label}")));
        }
        let confused = rng.random_bool(confusion) && label > 0;
        // Any of the others: skip the label itself in 1..classes.
        let other = rng.random_range(1..classes - 1);
        let seen = if confused { other + usize::from(other >= label) } else { label };
        Ok((0..classes).map(|c| f32::from(u8::from(c == seen))).collect())
    };
    labels.iter().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_back_as_it_was() {
        let settings = hubs::Settings::default();
        let made = hubs::make(settings, 5, 3, 1).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("hubs");
        made.write(&folder).unwrap();
        assert_eq!(NodeGraphs::read(&folder).unwrap(), made);
        assert!(matches!(made.write(&folder), Err(DataError::Exists(_))));
        let line = std::fs::read_to_string(folder.join("test.jsonl")).unwrap();
        let broken = line.replacen("\"features\":[[", "\"features\":[[0.5,", 1);
        std::fs::write(folder.join("test.jsonl"), broken).unwrap();
        let error = NodeGraphs::read(&folder).unwrap_err().to_string();
        assert!(error.contains("test.jsonl, line 1: feature vector 0 has 17 numbers, the others have 16"), "{error}");
    }

    #[test]
    fn annotations_become_scenes() {
        let graph = SceneGraph {
            boxes: vec![[0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 20.0, 20.0]],
            labels: vec![0, 2],
            relations: vec![lossmith::graph::Relation { subject: 0, object: 1, predicate: 1 }],
        };
        let image = |graph: &SceneGraph| ImageGraph { image: "a".into(), graph: graph.clone(), ..Default::default() };
        let itself = lossmith::graph::Relation { subject: 1, object: 1, predicate: 1 };
        let lonely = SceneGraph { relations: vec![itself], ..graph.clone() };
        let set = |objects: &[&str]| GraphSet {
            vocabulary: Vocabulary {
                objects: objects.iter().map(|&o| o.to_owned()).collect(),
                predicates: vec!["on".to_owned()],
            },
            images: vec![image(&graph), image(&lonely)],
        };
        let plain = set(&["cat", "dog", "mat"]);
        let made = NodeGraphs::from_graphs(plain.clone(), plain.clone(), 0.0, 1).unwrap();
        assert_eq!(made.about.vocabulary.objects[..2], ["__background__", "cat"]);
        assert_eq!((made.train.len(), made.train[0].graph.labels.clone()), (1, vec![1, 3]));
        assert_eq!(made.train[0].features[1], [0.0, 0.0, 0.0, 1.0]);
        let numbered = set(&["__background__", "dog", "mat"]);
        let made = NodeGraphs::from_graphs(numbered.clone(), numbered, 0.0, 1).unwrap();
        assert_eq!(made.train[0].graph.labels, vec![0, 2]);
        assert!(NodeGraphs::from_graphs(plain, set(&["cat"]), 0.0, 1).is_err());
    }

    /// VRD names a box as both ends of some relations: those are left out, and with them what else has none.
    #[test]
    fn vrd_becomes_scenes() {
        let Some(data) = std::env::var_os("LOSSMITH_TEST_DATA") else {
            eprintln!("skipped: LOSSMITH_TEST_DATA is not set");
            return;
        };
        let made = NodeGraphs::open(&Path::new(&data).join("vrd"), 0.3, 1).unwrap();
        assert_eq!((made.about.vocabulary.objects.len(), made.width()), (101, 101));
        // 3,780 and 955 images have relations.
        assert!((3_770..=3_780).contains(&made.train.len()) && (950..=955).contains(&made.test.len()));
        let graphs = || made.train.iter().map(|scene| &scene.graph);
        assert!(graphs().all(|g| !g.relations.is_empty() && g.relations.iter().all(|r| r.subject != r.object)));
        let shown = |scene: &NodeGraph, node: usize| scene.features[node][scene.graph.labels[node] as usize] == 1.0;
        let right = made.train.iter().map(|s| (0..s.features.len()).filter(|&i| shown(s, i)).count()).sum::<usize>();
        let nodes = graphs().map(|g| g.labels.len()).sum::<usize>();
        assert!((right as f64 / nodes as f64 - 0.7).abs() < 0.01, "{right} of {nodes}");
    }

    #[test]
    fn noise_confuses_as_often_as_asked() {
        let labels: Vec<u32> = (0..9_000).map(|i| 1 + i % 9).collect();
        let seen = noisy_labels(&labels, 10, 0.3, 4).unwrap();
        let label_seen = |v: &Vec<f32>| v.iter().position(|&x| x == 1.0).unwrap() as u32;
        let wrong = labels.iter().zip(&seen).filter(|(l, v)| **l != label_seen(v)).count();
        assert!((2_550..2_850).contains(&wrong), "{wrong}");
        assert!(seen.iter().all(|v| label_seen(v) > 0));
        assert!(noisy_labels(&[10], 10, 0.3, 4).is_err() && noisy_labels(&[1], 10, 1.3, 4).is_err());
    }
}
