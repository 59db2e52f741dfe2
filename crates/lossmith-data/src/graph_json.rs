//! Scene graphs as JSON: users' own graphs, in and out, and predictions, one image a line. All readers of scene graphs give [`GraphSet`].
//!
//! Graphs, one file:
//! ```json
//! {"objects": ["person", "cup"], "predicates": ["holds", "near"],
//!  "images": [{"image": "a.jpg", "size": [640, 480], "boxes": [[10, 20, 110, 220], [90, 100, 130, 140]], "labels": [0, 1],
//!              "relations": [{"subject": 0, "object": 1, "predicate": 1}]}]}
//! ```
//! `boxes` are `[x1, y1, x2, y2]`; `labels` count from 0 and are indices into `objects`; predicates count from 1 (0 means
//! none), so predicate `p` is `predicates[p - 1]`. `size` (width, height) may be left out.
//!
//! Predictions, one line an image:
//! ```json
//! {"image": "a.jpg", "boxes": [[10, 20, 110, 220], [90, 100, 130, 140]], "labels": [0, 1], "scores": [0.9, 0.8],
//!  "pairs": [[0, 1]], "predicates": [[0.1, 0.7, 0.2]]}
//! ```
//! Each row of `predicates` holds the probabilities of none and of every predicate for one pair; they add up to 1. `boxes` and `labels`
//! may be left out where the truth gives them, `scores` where they are 1.

use std::path::{Path, PathBuf};

use lossmith::graph::{Corners, GraphScores, SceneGraph, Vocabulary};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::source::Source;
use crate::{DataError, Result, atomic, limits};

/// How far the probabilities of a row may be from adding up to 1: what is left when they are written with few digits.
pub const SUM_TOLERANCE: f64 = 0.01;

/// Annotated images and the names of their classes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphSet {
    /// The names of classes and predicates.
    #[serde(flatten)]
    pub vocabulary: Vocabulary,
    /// The images, in the order of the file.
    pub images: Vec<ImageGraph>,
}

/// One annotated image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageGraph {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub image: String,
    /// Width and height in pixels, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// Boxes, labels, relations.
    #[serde(flatten)]
    pub graph: SceneGraph,
    /// The classes that image-level labels verify to be present or absent (Open Images).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<u32>,
}

impl ImageGraph {
    /// Checks that no box lies wholly outside of the image, where its size is known. Boxes that reach past an edge are let through, and
    /// so are those of the annotation itself: VRD has some of either.
    ///
    /// # Errors
    /// The first box that does, in words.
    pub fn check_inside(&self, boxes: &[Corners]) -> std::result::Result<(), String> {
        match boxes.iter().position(|b| self.is_outside(b) && !self.graph.boxes.contains(b)) {
            Some(at) => Err(self.outside(at, &boxes[at])),
            None => Ok(()),
        }
    }

    fn is_outside(&self, b: &Corners) -> bool {
        let past = |[width, height]: [u32; 2]| b[0] > f64::from(width) || b[1] > f64::from(height);
        self.size.is_some_and(|size| b[2] < 0.0 || b[3] < 0.0 || past(size))
    }

    fn outside(&self, at: usize, b: &Corners) -> String {
        let [width, height] = self.size.unwrap_or_default();
        format!("box {at} is {b:?}, outside of the image, which is {width} x {height}")
    }
}

/// What a model says about one image; boxes and labels may be those of the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The image's name.
    pub image: String,
    /// Where it was read: "line 7".
    pub record: String,
    boxes: Option<Vec<Corners>>,
    labels: Option<Vec<u32>>,
    scores: Option<Vec<f64>>,
    pairs: Vec<[u32; 2]>,
    predicates: Array2<f64>,
}

/// Names may be written as numbers.
fn name<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a name or a whole number")]
    enum Name {
        Number(i64),
        Text(String),
    }
    Ok(match Name::deserialize(from)? {
        Name::Number(n) => n.to_string(),
        Name::Text(t) => t,
    })
}

impl GraphSet {
    /// Reads a file, which may be gzip.
    ///
    /// # Errors
    /// No JSON of this form, or a graph that is not sound: the error names the image.
    pub fn read(path: &Path) -> Result<Self> {
        let set: Self = read_json(path)?;
        set.check(path)?;
        for image in &set.images {
            if let Some((at, b)) = image.graph.boxes.iter().enumerate().find(|(_, b)| image.is_outside(b)) {
                return Err(DataError::record(path, format!("image {}", image.image), image.outside(at, b)));
            }
            if let Some(at) = image.graph.relations.iter().position(|r| r.subject == r.object) {
                let message = format!("relation {at}: subject and object are the same box");
                return Err(DataError::record(path, format!("image {}", image.image), message));
            }
        }
        Ok(set)
    }

    /// Writes a new file, whole or not at all.
    ///
    /// # Errors
    /// The file is there already, or the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| DataError::argument(e.to_string()))?;
        atomic::write(path, &text)
    }

    /// Checks every graph against the names, and that no image is there twice.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let mut seen = std::collections::HashSet::with_capacity(self.images.len());
        for image in &self.images {
            let wrong = |message: String| DataError::record(path, format!("image {}", image.image), message);
            if !seen.insert(image.image.as_str()) {
                return Err(wrong("it is there twice".to_owned()));
            }
            check_pairs(path, image, self.vocabulary.predicates.len())?;
            image.graph.check(self.vocabulary.predicates.len()).map_err(|e| wrong(e.to_string()))?;
            let classes = self.vocabulary.objects.len();
            if let Some(at) = image.graph.labels.iter().position(|&l| l as usize >= classes) {
                let label = image.graph.labels[at];
                return Err(wrong(format!("label {at} is {label}, but there are {classes} classes, counted from 0")));
            }
        }
        Ok(())
    }
}

/// Refuses an image of so many boxes that a score for every predicate of every pair would not fit: models and baselines
/// make such a table.
fn check_pairs(path: &Path, image: &ImageGraph, predicates: usize) -> Result<()> {
    let n = image.graph.boxes.len() as u128;
    let bytes = n * n * (predicates as u128 + 1) * size_of::<f64>() as u128;
    limits::check(path, &format!("image {}: the scores of all pairs of its {n} boxes", image.image), bytes)
}

/// Reads a JSON file, which may be gzip.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = Source::open(path)?.text().all()?;
    serde_json::from_slice(&text).map_err(|e| DataError::content(path, format!("no JSON of this form: {e}")))
}

/// No line is added to a batch of as many bytes.
const BATCH_BYTES: usize = 1 << 26;

/// The lines of a file of predictions, which may be gzip, one at a time: parse them with [`Prediction::parse`].
pub struct PredictionLines {
    path: PathBuf,
    source: Source<'static>,
    number: usize,
}

impl PredictionLines {
    /// Opens a file.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), source: Source::open(path)?.text(), number: 0 })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next lines, at most `most`, fewer where they are long; none after the last.
    ///
    /// # Errors
    /// As the iterator.
    pub fn batch(&mut self, most: usize) -> Result<Vec<(usize, String)>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < most && bytes < BATCH_BYTES {
            let Some(line) = self.next().transpose()? else { break };
            bytes += line.1.len();
            lines.push(line);
        }
        Ok(lines)
    }
}

impl Iterator for PredictionLines {
    type Item = Result<(usize, String)>;

    /// The next line that is not empty, with its number from 1.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            match self.source.line(true).transpose()? {
                Ok(line) if line.trim().is_empty() => {}
                line => return Some(line.map(|line| (self.number, line))),
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(deserialize_with = "name")]
    image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boxes: Option<Vec<Corners>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scores: Option<Vec<f64>>,
    pairs: Vec<[u32; 2]>,
    predicates: Vec<Vec<f64>>,
}

impl Prediction {
    /// Parses one line.
    ///
    /// # Errors
    /// No JSON of this form, rows of different lengths, or rows that are no probabilities; the error names file and line.
    pub fn parse(path: &Path, number: usize, line: &str) -> Result<Self> {
        let record = format!("line {number}");
        let wrong = |message: String| DataError::record(path, record.clone(), message);
        let line: Line = serde_json::from_str(line).map_err(|e| wrong(format!("no prediction: {e}")))?;
        let width = line.predicates.first().map_or(0, Vec::len);
        for (at, row) in line.predicates.iter().enumerate() {
            check_row(row, width).map_err(|e| wrong(format!("image {}, predicates of pair {at}: {e}", line.image)))?;
        }
        let table = line.predicates.iter().flatten().copied().collect();
        let predicates = Array2::from_shape_vec((line.predicates.len(), width), table)
            .map_err(|e| wrong(format!("predicates: {e}")))?;
        let Line { image, boxes, labels, scores, pairs, .. } = line;
        Ok(Self { image, record, boxes, labels, scores, pairs, predicates })
    }

    /// The scores, with boxes and labels of the truth where the line has none.
    pub fn scores(self, truth: &SceneGraph) -> GraphScores {
        let boxes = self.boxes.unwrap_or_else(|| truth.boxes.clone());
        GraphScores {
            labels: self.labels.unwrap_or_else(|| truth.labels.clone()),
            scores: self.scores.unwrap_or_else(|| vec![1.0; boxes.len()]),
            boxes,
            pairs: self.pairs,
            predicates: self.predicates,
        }
    }

    /// The line that says this of an image.
    pub fn line(image: &str, scores: &GraphScores) -> String {
        let line = Line {
            image: image.to_owned(),
            boxes: Some(scores.boxes.clone()),
            labels: Some(scores.labels.clone()),
            scores: Some(scores.scores.clone()),
            pairs: scores.pairs.clone(),
            predicates: scores.predicates.outer_iter().map(|row| row.to_vec()).collect(),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

fn check_row(row: &[f64], width: usize) -> std::result::Result<(), String> {
    if row.len() != width {
        return Err(format!("{} numbers, the first pair has {width}", row.len()));
    }
    if let Some(at) = row.iter().position(|v| !(0.0..=1.0 + SUM_TOLERANCE).contains(v)) {
        return Err(format!("number {at} is {}, expected a probability", row[at]));
    }
    let sum: f64 = row.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(format!("the probabilities add up to {sum:.4}, expected 1 (none included)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPHS: &str = r#"{"objects": ["person", "cup"], "predicates": ["holds"], "images": [
        {"image": 7, "size": [20, 20], "boxes": [[0, 0, 9, 9], [5, 5, 7, 7]], "labels": [0, 1],
         "relations": [{"subject": 0, "object": 1, "predicate": 1}]}]}"#;

    fn read(text: &str) -> Result<GraphSet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.json");
        std::fs::write(&path, text).unwrap();
        GraphSet::read(&path)
    }

    #[test]
    fn graphs_go_out_and_in() {
        let set = read(GRAPHS).unwrap();
        assert_eq!(set.images[0].image, "7");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        set.write(&path).unwrap();
        assert_eq!(GraphSet::read(&path).unwrap(), set);
        assert!(set.write(&path).unwrap_err().to_string().contains("is there already"));
    }

    #[test]
    fn faults_name_the_image() {
        for (from, to, wanted) in [
            (r#""labels": [0, 1]"#, r#""labels": [0, 2]"#, "image 7: label 1 is 2, but there are 2 classes"),
            (r#""predicate": 1"#, r#""predicate": 0"#, "image 7: relation 0: predicate 0 is not in 1..=1"),
            (r#""object": 1,"#, r#""object": 0,"#, "image 7: relation 0: subject and object are the same box"),
            (r#""object": 1,"#, r#""object": 9,"#, "there is no box 9, the image has 2"),
            ("[0, 0, 9, 9]", "[9, 0, 0, 9]", "image 7: box 0 is"),
            (
                "[0, 0, 9, 9]",
                "[0, 30, 9, 39]",
                "image 7: box 0 is [0.0, 30.0, 9.0, 39.0], outside of the image, which is 20 x 20",
            ),
            ("[0, 0, 9, 9]", "[0, 0, 9]", "no JSON of this form"),
        ] {
            let error = read(&GRAPHS.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn predictions_are_probabilities() {
        let parse = |text: &str| Prediction::parse(Path::new("p.jsonl"), 3, text);
        let truth = read(GRAPHS).unwrap().images[0].graph.clone();
        let good = r#"{"image": "7", "pairs": [[0, 1]], "predicates": [[0.25, 0.75]]}"#;
        let scores = parse(good).unwrap().scores(&truth);
        assert_eq!((scores.boxes.clone(), scores.scores.clone()), (truth.boxes.clone(), vec![1.0, 1.0]));
        let again = parse(&Prediction::line("7", &scores)).unwrap();
        assert_eq!(again.scores(&truth), scores);
        for (row, wanted) in [
            (
                "[0.25, 0.25]",
                "p.jsonl, line 3: image 7, predicates of pair 0: the probabilities add up to 0.5000, expected 1",
            ),
            ("[-0.5, 1.5]", "number 0 is -0.5, expected a probability"),
            ("[NaN, 1]", "line 3: no prediction"),
        ] {
            let error = parse(&good.replace("[0.25, 0.75]", row)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let ragged = parse(&good.replace("[[0.25, 0.75]]", "[[0.25, 0.75], [1]]")).unwrap_err().to_string();
        assert!(ragged.contains("predicates of pair 1: 1 numbers, the first pair has 2"), "{ragged}");
    }
}
