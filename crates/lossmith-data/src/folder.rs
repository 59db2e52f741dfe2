//! What a folder of data is, told by what it holds.

use std::fs;
use std::path::Path;

use crate::classification::{Classification, LabelledImages, numbered};
use crate::graph_json::GraphSet;
use crate::node_graphs::{NodeGraph, NodeGraphs, VOCABULARY};
use crate::scene_graphs::{self, Part};
use crate::vrd::Nodes;
use crate::{DataError, Result, cifar, idx, instance_set, whole_text};

/// The file that may name the classes of an IDX folder, one a line: Fashion-MNIST has the same files as MNIST.
pub const CLASSES: &str = "classes.txt";

/// A way to keep a data set in a folder. A new one is one line in [`FORMATS`].
pub struct Format {
    /// What users call it.
    pub name: &'static str,
    /// The files by which it is recognised, for the error where none is.
    pub files: &'static str,
    /// Whether these file names are of this format.
    pub is_here: fn(&[String]) -> bool,
    /// What the folder holds, as pairs of a name and a value for a table.
    pub describe: fn(&Path) -> Result<Description>,
}

/// Names and values, in the order in which they are shown.
pub type Description = Vec<(String, String)>;

/// Every format that a folder is searched for, the first that fits is taken.
pub const FORMATS: &[Format] = &[
    Format {
        name: "IDX",
        files: "train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]",
        is_here: idx::is_here,
        describe: |folder| Ok(describe(&read_idx(folder)?)),
    },
    Format {
        name: "CIFAR-10",
        files: "data_batch_*.bin[.gz] or cifar-10-binary.tar.gz",
        is_here: cifar::is_here,
        describe: |folder| Ok(describe(&cifar::read_folder(folder)?)),
    },
    Format {
        name: "scene graphs with node vectors",
        files: "vocabulary.json, train.jsonl and test.jsonl",
        is_here: |names| [VOCABULARY, "train.jsonl"].iter().all(|file| names.iter().any(|name| name == file)),
        describe: |folder| Ok(describe_nodes(&NodeGraphs::read(folder)?)),
    },
    Format {
        name: "COCO",
        files: "train.json, test.json and images/, or annotations/instances_*.json",
        is_here: instance_set::is_coco,
        describe: instance_set::describe,
    },
    Format {
        name: "label images",
        files: "NAME_label.png beside NAME_image.png, here or in train and test",
        is_here: instance_set::is_labels,
        describe: instance_set::describe,
    },
    Format {
        name: "scene graphs",
        files: "train-graphs.json and test-graphs.json, or annotations_train.json[.gz], annotations_test.json[.gz] and predicates.json",
        is_here: |names| {
            let has = |name: &str| names.iter().any(|n| n.strip_suffix(".gz").unwrap_or(n) == name);
            let has_part =
                |part: Part| names.iter().any(|n| part.names(n.strip_suffix(".gz").unwrap_or(n), "-graphs.json"));
            (has_part(Part::Train) && has_part(Part::Test)) || (has("annotations_test.json") && has("predicates.json"))
        },
        describe: describe_graphs,
    },
];

/// The one data set that is a file.
static VISUAL_GENOME: Format = Format {
    name: "Visual Genome",
    files: "VG-SGG.h5 and VG-SGG-dicts.json",
    is_here: |_| false,
    describe: describe_graphs,
};

/// What the folder, or VG-SGG.h5, holds.
///
/// # Errors
/// No such folder, or nothing in it that is known; the error says what was looked for.
pub fn recognise(folder: &Path) -> Result<&'static Format> {
    if scene_graphs::is_h5(folder) {
        return Ok(&VISUAL_GENOME);
    }
    let names = names(folder)?;
    FORMATS.iter().find(|format| (format.is_here)(&names)).ok_or_else(|| unknown(folder, FORMATS.iter(), names.len()))
}

/// Reads a folder of images with one label each.
///
/// # Errors
/// It holds no such data, or the data is not as it should be.
pub fn classification(folder: &Path) -> Result<Classification> {
    let names = names(folder)?;
    if idx::is_here(&names) {
        return read_idx(folder);
    }
    if cifar::is_here(&names) {
        return cifar::read_folder(folder);
    }
    Err(unknown(folder, FORMATS[..2].iter(), names.len()))
}

/// The names of what is in a folder.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(DataError::io(folder, "read the folder"))?;
    entries
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()
        .map_err(DataError::io(folder, "read the folder"))
}

fn unknown<'a>(folder: &Path, formats: impl Iterator<Item = &'a Format>, count: usize) -> DataError {
    let wanted: Vec<String> = formats.map(|f| format!("{} ({})", f.files, f.name)).collect();
    let message = format!("none of its {count} entries is known data; looked for {}", wanted.join(", or "));
    DataError::content(folder, message)
}

fn read_idx(folder: &Path) -> Result<Classification> {
    idx::read_folder(folder, class_names(folder)?)
}

/// The names in [`CLASSES`], or the ten digits.
fn class_names(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join(CLASSES);
    if !path.exists() {
        return Ok(numbered(10));
    }
    let text = whole_text(&path)?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    match names.len() {
        2..=256 => Ok(names),
        found => Err(DataError::content(&path, format!("it names {found} classes: expected 2 to 256, one a line"))),
    }
}

fn describe(data: &Classification) -> Description {
    let row = |name: &str, value: String| (name.to_owned(), value);
    let mut rows = vec![
        row("image", format!("{} (channels x height x width)", data.train.shape())),
        row("classes", data.classes.join(", ")),
        row("train", count(&data.train, data.classes.len())),
    ];
    rows.push(match &data.test {
        Some(test) => row("test", count(test, data.classes.len())),
        None => row("test", "none: a sixth of the images is set apart for it".to_owned()),
    });
    let moments = data.train.mean_and_sd();
    let text: Vec<String> = moments.iter().map(|(mean, sd)| format!("{mean:.4} ± {sd:.4}")).collect();
    rows.push(row("mean ± sd", format!("{} (per channel, of 0 to 1)", text.join(", "))));
    rows
}

fn count(images: &LabelledImages, classes: usize) -> String {
    let mut counts = vec![0usize; classes];
    images.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
    let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    format!("{} images, {least} to {most} a class", images.len())
}

/// Scenes of nodes; what no model can pass, where that is known.
fn describe_nodes(data: &NodeGraphs) -> Description {
    let names = &data.about.vocabulary;
    let scenes = |scenes: &[NodeGraph]| {
        let sum = |of: fn(&NodeGraph) -> usize| scenes.iter().map(of).sum::<usize>();
        let (nodes, relations) = (sum(|s| s.graph.labels.len()), sum(|s| s.graph.relations.len()));
        format!("{} scenes, {nodes} nodes, {relations} relations", scenes.len())
    };
    let mut rows = vec![
        ("objects", format!("{} ({})", names.objects.len(), names.objects.join(", "))),
        ("predicates", format!("{} ({})", names.predicates.len(), names.predicates.join(", "))),
        ("vectors", format!("of {} numbers", data.width())),
        ("train", scenes(&data.train)),
        ("test", scenes(&data.test)),
    ];
    if let Some(made) = data.about.hubs {
        let c = made.ceilings();
        let percent = |value: f64| format!("{value:.4}");
        rows.push(("ceilings", "recall of the best labels under each objective, in closed form".to_owned()));
        rows.push(("  alone", format!("{} (cross-entropy, every node for itself)", percent(c.alone))));
        rows.push(("  nodes", format!("{} (cross-entropy)", percent(c.cross_entropy))));
        rows.push(("  degree", format!("{} (cross-entropy weighted by degree)", percent(c.degree))));
        rows.push(("  graph", format!("{} (the reward of the graph)", percent(c.graph))));
    }
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn describe_graphs(folder: &Path) -> Result<Description> {
    let train = scene_graphs::read(folder, Part::Train, Nodes::Boxes, None)?;
    let test = scene_graphs::read(folder, Part::Test, Nodes::Boxes, None)?;
    let listed = |names: &[String]| {
        let shown = names.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("{} ({shown}{})", names.len(), if names.len() > 12 { ", ..." } else { "" })
    };
    let counts = |set: &GraphSet| {
        let sum =
            |of: fn(&lossmith::graph::SceneGraph) -> usize| set.images.iter().map(|i| of(&i.graph)).sum::<usize>();
        let related = set.images.iter().filter(|i| !i.graph.relations.is_empty()).count();
        let (boxes, relations) = (sum(|g| g.boxes.len()), sum(|g| g.relations.len()));
        format!("{} images, {related} with relations; {boxes} boxes, {relations} relations", set.images.len())
    };
    let beside = |name: &str| if folder.join(name).exists() { "yes" } else { "no" }.to_owned();
    Ok([
        ("objects", listed(&train.vocabulary.objects)),
        ("predicates", listed(&train.vocabulary.predicates)),
        ("train", counts(&train)),
        ("test", counts(&test)),
        ("pictures", beside(scene_graphs::IMAGES)),
        ("features", beside(scene_graphs::FEATURES)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classification::Shape;

    fn idx_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { channels: 1, height: 2, width: 2 };
        let images = LabelledImages::new(shape, vec![51; 12], vec![0, 1, 1]).unwrap();
        idx::write_folder(folder.path(), &images, &images).unwrap();
        folder
    }

    #[test]
    fn a_folder_is_known_by_its_files() {
        let folder = idx_folder();
        let format = recognise(folder.path()).unwrap();
        assert_eq!(format.name, "IDX");
        let rows = (format.describe)(folder.path()).unwrap();
        assert_eq!(rows[2], ("train".to_owned(), "3 images, 0 to 2 a class".to_owned()));
        assert_eq!(rows[4].1, "0.2000 ± 0.0000 (per channel, of 0 to 1)");
        assert_eq!(classification(folder.path()).unwrap().train.len(), 3);
    }

    #[test]
    fn an_unknown_folder_says_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let message = classification(folder.path()).unwrap_err().to_string();
        assert!(message.contains("train-images-idx3-ubyte[.gz]") && message.contains("cifar-10-binary.tar.gz"));
        let missing = classification(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.ends_with("cannot read the folder: there is no such file or folder"), "{missing}");
    }

    #[test]
    fn classes_may_be_named() {
        let folder = idx_folder();
        let path = folder.path().join(CLASSES);
        fs::write(&path, "\u{feff}shirt\n\ncoat\n").unwrap();
        assert_eq!(classification(folder.path()).unwrap().classes, ["shirt", "coat"]);
        fs::write(&path, "shirt\n").unwrap();
        assert!(classification(folder.path()).unwrap_err().to_string().contains("it names 1 classes"));
    }
}
