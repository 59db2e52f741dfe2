//! VRD (Lu et al. 2016): annotations as JSON, plain or gzip.
//!
//! A folder holds `annotations_train.json`, `annotations_test.json` (`{image: [{"predicate", "subject": {"category",
//! "bbox": [ymin, ymax, xmin, xmax]}, "object": {...}}]}`), `objects.json`, `predicates.json` and, if there are any,
//! `train_image_metadata.json` and `test_image_metadata.json` (`{image: {"width", "height"}}`); each may end in `.gz`.
//! Classes and predicates count from 0 in the files; here predicates count from 1, as everywhere.
//!
//! Boxes are not numbered in the files: each relation has its own two, and the same box may have two labels. [`Nodes`] says what
//! becomes a node.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use lossmith::graph::{Corners, Relation, SceneGraph, Vocabulary};
use serde::Deserialize;

use crate::graph_json::{GraphSet, ImageGraph, read_json};
use crate::{DataError, Result};

/// Which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// 4000 images.
    Train,
    /// 1000 images.
    Test,
}

/// What is one node of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Each distinct box, with the label that comes first; a relation that is there twice is kept once. For graphs.
    Boxes,
    /// Each distinct box with each of its labels; all rows are kept. For the protocols that count rows.
    LabelledBoxes,
}

#[derive(Deserialize)]
struct Row {
    predicate: u32,
    subject: End,
    object: End,
}

#[derive(Deserialize)]
struct End {
    category: u32,
    /// ymin, ymax, xmin, xmax
    bbox: [f64; 4],
}

#[derive(Deserialize)]
struct Size {
    width: u32,
    height: u32,
}

impl End {
    /// Checks the order of the corners. Another order is mostly found by it, though not for every box.
    fn check(&self) -> std::result::Result<(), String> {
        let b = self.bbox;
        if b[0] <= b[1] && b[2] <= b[3] {
            return Ok(());
        }
        let like = if b[0] <= b[2] && b[1] <= b[3] { ", but this looks like [xmin, ymin, xmax, ymax]" } else { "" };
        Err(format!("its bbox is {b:?}: expected [ymin, ymax, xmin, xmax]{like}"))
    }

    fn corners(&self) -> Corners {
        let [y1, y2, x1, x2] = self.bbox;
        [x1, y1, x2, y2]
    }
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// Reads one split of a folder; images in the order of their names.
///
/// # Errors
/// A file is missing or is no JSON of this form; a class, predicate or box is wrong: the error names file and image.
pub fn read(folder: &Path, split: Split, nodes: Nodes) -> Result<GraphSet> {
    let names = |file: &str| -> Result<Vec<String>> { read_json(&plain_or_gzip(folder, file)) };
    let vocabulary = Vocabulary { objects: names("objects.json")?, predicates: names("predicates.json")? };
    let path = plain_or_gzip(folder, &format!("annotations_{}.json", split.name()));
    let sizes = plain_or_gzip(folder, &format!("{}_image_metadata.json", split.name()));
    let sizes: HashMap<String, Size> = if sizes.exists() { read_json(&sizes)? } else { HashMap::new() };
    let annotations: BTreeMap<String, Vec<Row>> = read_json(&path)?;
    let mut images = Vec::with_capacity(annotations.len());
    for (image, rows) in annotations {
        for (at, row) in rows.iter().enumerate() {
            for (what, end) in [("subject", &row.subject), ("object", &row.object)] {
                let wrong =
                    |message| DataError::record(&path, format!("image {image}, relation {at}, {what}"), message);
                end.check().map_err(wrong)?;
            }
        }
        let size = sizes.get(&image).map(|s| [s.width, s.height]);
        images.push(ImageGraph { graph: graph(&rows, nodes), image, size, verified: Vec::new() });
    }
    let set = GraphSet { vocabulary, images };
    set.check(&path)?;
    set.check_outside(&path, &[OUTSIDE])?;
    Ok(set)
}

/// The one image of the published data whose boxes lie outside of what its metadata says: it was resized.
const OUTSIDE: &str = "9210906893_4102aa74c8_b.jpg";

/// Whether a folder looks like VRD.
pub fn recognised(folder: &Path) -> bool {
    plain_or_gzip(folder, "annotations_test.json").exists() && folder.join("predicates.json").exists()
}

fn plain_or_gzip(folder: &Path, file: &str) -> PathBuf {
    let plain = folder.join(file);
    let packed = folder.join(format!("{file}.gz"));
    if !plain.exists() && packed.exists() { packed } else { plain }
}

fn graph(rows: &[Row], nodes: Nodes) -> SceneGraph {
    let mut graph = SceneGraph::default();
    let mut places: HashMap<([u64; 4], Option<u32>), u32> = HashMap::new();
    let mut node = |end: &End, graph: &mut SceneGraph| {
        let label = (nodes == Nodes::LabelledBoxes).then_some(end.category);
        *places.entry((end.corners().map(f64::to_bits), label)).or_insert_with(|| {
            graph.boxes.push(end.corners());
            graph.labels.push(end.category);
            graph.boxes.len() as u32 - 1
        })
    };
    for row in rows {
        let (subject, object) = (node(&row.subject, &mut graph), node(&row.object, &mut graph));
        // Saturating: a number that is too large is found by the check against the names.
        let relation = Relation { subject, object, predicate: row.predicate.saturating_add(1) };
        if nodes == Nodes::LabelledBoxes || !graph.relations.contains(&relation) {
            graph.relations.push(relation);
        }
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Option<PathBuf> {
        let folder = std::env::var_os("LOSSMITH_TEST_DATA").map(|d| PathBuf::from(d).join("vrd"));
        if folder.is_none() {
            eprintln!("skipped: LOSSMITH_TEST_DATA is not set");
        }
        folder
    }

    #[test]
    fn published_counts() {
        let Some(folder) = folder() else { return };
        let count = |split, nodes| {
            let set = read(&folder, split, nodes).unwrap();
            let graphs = || set.images.iter().map(|i| &i.graph);
            let related = graphs().filter(|g| !g.relations.is_empty()).count();
            let boxes: usize = graphs().filter(|g| !g.relations.is_empty()).map(|g| g.boxes.len()).sum();
            let relations: usize = graphs().map(|g| g.relations.len()).sum();
            // The metadata leaves out one test image, which is a GIF under the name of a JPEG.
            let without_size = set.images.iter().filter(|i| i.size.is_none()).count();
            assert_eq!(without_size, usize::from(split == Split::Test));
            assert_eq!((set.vocabulary.objects.len(), set.vocabulary.predicates.len()), (100, 70));
            (set.images.len(), related, boxes, relations)
        };
        assert_eq!(count(Split::Train, Nodes::Boxes), (4000, 3780, 26_287, 29_857));
        assert_eq!(count(Split::Test, Nodes::Boxes), (1000, 955, 6_693, 7_474));
        assert_eq!(count(Split::Train, Nodes::LabelledBoxes).3, 30_355);
        assert_eq!(count(Split::Test, Nodes::LabelledBoxes).3, 7_638);
    }

    #[test]
    fn faults_name_file_and_image() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("objects.json", r#"["person", "cup"]"#);
        put("predicates.json", r#"["holds"]"#);
        let row = r#"{"predicate": 0, "subject": {"category": 0, "bbox": [1, 9, 2, 8]}, "object": {"category": 1, "bbox": [3, 5, 3, 5]}}"#;
        let read = |row: &str| {
            put("annotations_test.json", &format!(r#"{{"a.jpg": [{row}], "b.jpg": []}}"#));
            read(folder.path(), Split::Test, Nodes::Boxes)
        };
        let set = read(row).unwrap();
        assert_eq!(set.images[0].graph.boxes, [[2.0, 1.0, 8.0, 9.0], [3.0, 3.0, 5.0, 5.0]]);
        assert_eq!(set.images[0].graph.relations, [Relation { subject: 0, object: 1, predicate: 1 }]);
        for (from, to, wanted) in [
            (r#""predicate": 0"#, r#""predicate": 1"#, "image a.jpg: relation 0: predicate 2 is not in 1..=1"),
            (r#""category": 1"#, r#""category": 2"#, "image a.jpg: label 1 is 2, but there are 2 classes"),
            (
                "[1, 9, 2, 8]",
                "[9, 1, 2, 8]",
                "annotations_test.json, image a.jpg, relation 0, subject: its bbox is [9.0, 1.0, 2.0, 8.0]: expected [ymin, ymax, xmin, xmax]",
            ),
            (
                "[3, 5, 3, 5]",
                "[30, 5, 32, 7]",
                "object: its bbox is [30.0, 5.0, 32.0, 7.0]: expected [ymin, ymax, xmin, xmax], but this looks like [xmin, ymin, xmax, ymax]",
            ),
            ("[1, 9, 2, 8]", "[1, 9, 2]", "annotations_test.json: no JSON of this form"),
        ] {
            let error = read(&row.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        put("test_image_metadata.json", r#"{"a.jpg": {"width": 2, "height": 2}}"#);
        let error = read(row).unwrap_err().to_string();
        assert!(
            error.contains("image a.jpg: box 1 is [3.0, 3.0, 5.0, 5.0], outside of the image, which is 2 x 2"),
            "{error}"
        );
    }
}
