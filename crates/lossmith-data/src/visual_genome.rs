//! Visual Genome: `VG-SGG.h5` with its dictionary (the VG150 of Xu et al., as Neural Motifs reads it), and plain JSON.
//!
//! The h5 file holds `boxes_1024` (N x 4: centre x, centre y, width, height, longest image side scaled to 1024), `labels`
//! (N x 1, from 1), `relationships` (M x 2, box numbers over all images), `predicates` (M x 1, from 1), and for each image
//! `img_to_first_box`, `img_to_last_box`, `img_to_first_rel`, `img_to_last_rel` (both ends included, -1 for none) and `split` (0 train,
//! 2 test). Corners are `centre - size/2` and that plus the size; where the file has whole numbers the corner is cut
//! towards zero, as numpy does when it stores into them. Images have no names in the file: they are numbered from 0.
//!
//! Class 0 is the background, which no box has; its name is `__background__`.
//!
//! Plain JSON: `[[image, {"objs": [{"cls", "bbox": [xmin, ymin, xmax, ymax]}], "rels": [{"sub", "obj", "pred": [p, ...]}]}], ...]`, beside
//! `objects.json` and `predicates.json`; classes and predicates from 0; `null` for an image
//! (then it is named by its place) or an annotation that is not there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdf5_pure::{DType, Dataset, File};
use lossmith::graph::{Corners, Relation, SceneGraph, Vocabulary};
use serde::Deserialize;

use crate::graph_json::{GraphSet, ImageGraph, read_json};
use crate::source::{MOST_UNPACKED_PER_BYTE, Source};
use crate::{DataError, Result, limits};

/// Which images of the h5 file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Flag 0, without the first 5000 that have a relation; all of flag 0 where there are no more than those.
    Train,
    /// The first 5000 images of flag 0 that have a relation, if there are more.
    Validation,
    /// Flag 2.
    Test,
}

/// How many training images Neural Motifs keeps for validation.
const VALIDATION: usize = 5000;

#[derive(Deserialize)]
struct Dictionary {
    label_to_idx: BTreeMap<String, u32>,
    predicate_to_idx: BTreeMap<String, u32>,
}

/// Reads one split of an h5 file and its dictionary; images without a box or a relation are left out, as published.
///
/// # Errors
/// Another schema, numbers that do not fit together, or a class without a name.
pub fn read_h5(h5: &Path, dictionary: &Path, split: Split) -> Result<GraphSet> {
    let names: Dictionary = read_json(dictionary)?;
    let vocabulary = Vocabulary {
        objects: std::iter::once(BACKGROUND.to_owned()).chain(in_order(&names.label_to_idx, dictionary)?).collect(),
        predicates: in_order(&names.predicate_to_idx, dictionary)?,
    };
    let tables = Tables::read(h5)?;
    let wanted = if split == Split::Test { 2 } else { 0 };
    let mut images = Vec::new();
    for image in (0..tables.split.len()).filter(|&i| tables.split[i] == wanted) {
        if let Some(graph) = tables.graph(image).map_err(|e| DataError::record(h5, format!("image {image}"), e))? {
            images.push(ImageGraph { image: image.to_string(), graph, ..ImageGraph::default() });
        }
    }
    let images = match split {
        Split::Test => images,
        // A small data set has none for validation: all are trained on.
        Split::Train if images.len() <= VALIDATION => images,
        Split::Validation if images.len() <= VALIDATION => Vec::new(),
        Split::Train => images.into_iter().skip(VALIDATION).collect(),
        Split::Validation => images.into_iter().take(VALIDATION).collect(),
    };
    let set = GraphSet { vocabulary, images };
    set.check(h5)?;
    Ok(set)
}

/// Class 0, which no box has; a dictionary may name it, or leave it out.
const BACKGROUND: &str = "__background__";

/// The names of 1, 2, 3, ...
fn in_order(numbers: &BTreeMap<String, u32>, path: &Path) -> Result<Vec<String>> {
    let real = numbers.iter().filter(|(name, number)| (name.as_str(), **number) != (BACKGROUND, 0));
    let mut names: Vec<(u32, &String)> = real.map(|(name, &number)| (number, name)).collect();
    names.sort_unstable();
    if let Some((at, (number, name))) = names.iter().enumerate().find(|(at, (number, _))| *number as usize != at + 1) {
        let message = format!("'{name}' has the number {number}, expected {}: each from 1 once", at + 1);
        return Err(DataError::content(path, message));
    }
    Ok(names.into_iter().map(|(_, name)| name.clone()).collect())
}

/// The dictionary beside an h5 file: `VG-SGG-dicts.json` of `VG-SGG.h5`, `VG-SGG-dicts-with-attri.json` of `VG-SGG-with-attri.h5`; either
/// will do where the other is not there, for they name the same classes.
///
/// # Errors
/// Neither is there.
pub fn dictionary_beside(h5: &Path) -> Result<PathBuf> {
    let stem = h5.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let own = stem.strip_prefix("VG-SGG").map(|rest| format!("VG-SGG-dicts{rest}.json"));
    let names: Vec<String> =
        own.into_iter().chain(["VG-SGG-dicts.json", "VG-SGG-dicts-with-attri.json"].map(str::to_owned)).collect();
    let found = names.iter().map(|name| h5.with_file_name(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let message = format!(
            "there is no dictionary of its classes beside it: expected {} or {}",
            names[0],
            names[names.len() - 1]
        );
        DataError::content(h5, message)
    })
}

/// The tables of the h5 file.
struct Tables {
    boxes: Vec<f64>,
    whole: bool,
    labels: Vec<i64>,
    relationships: Vec<i64>,
    predicates: Vec<i64>,
    boxes_of: [Vec<i64>; 2],
    relations_of: [Vec<i64>; 2],
    split: Vec<i64>,
}

/// A table before it is read.
struct Table {
    name: String,
    dataset: Dataset,
    rows: u64,
    columns: u64,
    /// Numbers of a chunk, which is unpacked at once.
    chunk: u128,
    whole: bool,
}

/// Compares the stated sizes with each other, with what the file can hold at `most`, and with the limits.
fn check_sizes(path: &Path, all: &[Table; 9], most: u64) -> Result<()> {
    for (table, like) in [(1, 0), (3, 2), (4, 8), (5, 8), (6, 8), (7, 8)] {
        let (name, found, expected) = (&all[table].name, all[table].rows, all[like].rows);
        if found != expected {
            return Err(DataError::content(path, format!("'{name}' has {found} rows, expected {expected}")));
        }
    }
    let numbers: u128 = all.iter().map(|t| (u128::from(t.rows) * u128::from(t.columns)).max(t.chunk)).sum();
    if numbers > u128::from(most) {
        let message = format!("its tables are said to have {numbers} numbers, which this file is too small to hold");
        return Err(DataError::content(path, message));
    }
    limits::check(path, "its tables", numbers * size_of::<f64>() as u128)
}

impl Tables {
    fn read(path: &Path) -> Result<Self> {
        let bytes = Source::open(path)?.all()?;
        let most = bytes.len() as u64 * MOST_UNPACKED_PER_BYTE;
        let file = File::from_bytes(bytes).map_err(|e| DataError::content(path, format!("no HDF5 file: {e}")))?;
        let open = |name: &str, width: u64| {
            let missing = |e: hdf5_pure::Error| {
                DataError::content(
                    path,
                    format!("has no readable dataset '{name}' ({e}); expected the schema of VG-SGG.h5"),
                )
            };
            let dataset = file.dataset(name).map_err(missing)?;
            let shape = dataset.shape().map_err(missing)?;
            let columns = shape.get(1).copied().unwrap_or(1);
            if shape.is_empty() || shape.len() > 2 || columns != width {
                return Err(DataError::content(
                    path,
                    format!("'{name}' has shape {shape:?}, expected [rows, {width}]"),
                ));
            }
            let fault = |e: hdf5_pure::Error| DataError::content(path, format!("'{name}' cannot be read: {e}"));
            let whole = match dataset.dtype().map_err(fault)? {
                DType::F32 | DType::F64 => false,
                DType::I8 | DType::I16 | DType::I32 | DType::I64 => true,
                DType::U8 | DType::U16 | DType::U32 | DType::U64 => true,
                other => {
                    return Err(DataError::content(path, format!("'{name}' holds {other:?}, expected numbers")));
                }
            };
            let chunk = dataset.chunk_shape().map_err(fault)?.unwrap_or_default();
            let chunk = chunk.iter().fold(1, |n: u128, side| n.saturating_mul(u128::from(*side)));
            Ok(Table { name: name.to_owned(), dataset, rows: shape[0], columns, chunk, whole })
        };
        let all = [
            open("boxes_1024", 4)?,
            open("labels", 1)?,
            open("relationships", 2)?,
            open("predicates", 1)?,
            open("img_to_first_box", 1)?,
            open("img_to_last_box", 1)?,
            open("img_to_first_rel", 1)?,
            open("img_to_last_rel", 1)?,
            open("split", 1)?,
        ];
        check_sizes(path, &all, most)?;
        let fault = |name: &str, e: hdf5_pure::Error| DataError::content(path, format!("'{name}' cannot be read: {e}"));
        let [boxes, labels, relationships, predicates, first_box, last_box, first_rel, last_rel, split] = &all;
        let integers = |table: &Table| table.dataset.read_i64().map_err(|e| fault(&table.name, e));
        let tables = Self {
            boxes: boxes.dataset.read_f64().map_err(|e| fault(&boxes.name, e))?,
            whole: boxes.whole,
            labels: integers(labels)?,
            relationships: integers(relationships)?,
            predicates: integers(predicates)?,
            boxes_of: [integers(first_box)?, integers(last_box)?],
            relations_of: [integers(first_rel)?, integers(last_rel)?],
            split: integers(split)?,
        };
        Ok(tables)
    }

    /// The graph of one image, if it has boxes and relations.
    fn graph(&self, image: usize) -> std::result::Result<Option<SceneGraph>, String> {
        let boxes = range(&self.boxes_of, image, self.labels.len(), "boxes")?;
        let relations = range(&self.relations_of, image, self.predicates.len(), "relations")?;
        if boxes.is_empty() || relations.is_empty() {
            return Ok(None);
        }
        let class = |number: i64| u32::try_from(number).map_err(|_| format!("{number} is no class or predicate"));
        let place = |number: i64| {
            usize::try_from(number)
                .ok()
                .filter(|n| boxes.contains(n))
                .map(|n| (n - boxes.start) as u32)
                .ok_or_else(|| format!("a relation names box {number}, the image has {boxes:?}"))
        };
        let mut graph = SceneGraph::default();
        for at in boxes.clone() {
            graph.boxes.push(self.corners(at));
            graph.labels.push(class(self.labels[at])?);
        }
        for at in relations {
            let (subject, object) = (place(self.relationships[2 * at])?, place(self.relationships[2 * at + 1])?);
            graph.relations.push(Relation { subject, object, predicate: class(self.predicates[at])? });
        }
        Ok(Some(graph))
    }

    fn corners(&self, at: usize) -> Corners {
        let b = &self.boxes[4 * at..][..4];
        let low = |centre: f64, size: f64| {
            let corner = centre - size / 2.0;
            if self.whole { corner.trunc() } else { corner }
        };
        let (x, y) = (low(b[0], b[2]), low(b[1], b[3]));
        [x, y, x + b[2], y + b[3]]
    }
}

/// The rows from first to last of an image; none where they are -1.
fn range(
    ends: &[Vec<i64>; 2],
    image: usize,
    rows: usize,
    what: &str,
) -> std::result::Result<std::ops::Range<usize>, String> {
    let (first, last) = (ends[0][image], ends[1][image]);
    if first < 0 || last < 0 {
        return Ok(0..0);
    }
    let (first, end) = (first as usize, (last as usize).saturating_add(1));
    if first > end || end > rows {
        return Err(format!("its {what} are said to be {first} to {last}, but there are {rows}"));
    }
    Ok(first..end)
}

#[derive(Deserialize)]
struct Image(Option<String>, Option<Annotation>);

#[derive(Deserialize)]
struct Annotation {
    objs: Vec<Object>,
    rels: Vec<Related>,
}

#[derive(Deserialize)]
struct Object {
    cls: u32,
    bbox: Corners,
}

#[derive(Deserialize)]
struct Related {
    sub: u32,
    obj: u32,
    pred: Vec<u32>,
}

/// Reads plain JSON, which may be gzip; `objects.json` and `predicates.json` lie beside it.
///
/// # Errors
/// No JSON of this form, or a class, predicate or box that is wrong: the error names the image.
pub fn read_json_scenes(path: &Path) -> Result<GraphSet> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let vocabulary = Vocabulary {
        objects: read_json(&folder.join("objects.json"))?,
        predicates: read_json(&folder.join("predicates.json"))?,
    };
    let scenes: Vec<Image> = read_json(path)?;
    let images = scenes.into_iter().enumerate().map(|(at, Image(image, annotation))| {
        let image = image.unwrap_or_else(|| format!("entry {at}"));
        let graph = annotation.map(|a| SceneGraph {
            boxes: a.objs.iter().map(|o| o.bbox).collect(),
            labels: a.objs.iter().map(|o| o.cls).collect(),
            relations: a
                .rels
                .iter()
                .flat_map(|r| {
                    let (subject, object) = (r.sub, r.obj);
                    // Saturating: a number that is too large is found by the check against the names.
                    r.pred.iter().map(move |p| Relation { subject, object, predicate: p.saturating_add(1) })
                })
                .collect(),
        });
        ImageGraph { image, graph: graph.unwrap_or_default(), ..ImageGraph::default() }
    });
    let set = GraphSet { vocabulary, images: images.collect() };
    set.check(path)?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hdf5_pure::FileBuilder;

    use super::*;

    struct Fake {
        folder: tempfile::TempDir,
    }

    impl Fake {
        /// Two images: a training image with a relation, a test image with two boxes and one relation.
        fn new(change: impl Fn(&str, &mut Vec<i32>)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut builder = FileBuilder::new();
            let tables: [(&str, &[i32], u64); 9] = [
                ("boxes_1024", &[10, 10, 5, 4, 20, 20, 4, 4, 10, 10, 5, 4, 20, 20, 4, 4], 4),
                ("labels", &[1, 2, 2, 1], 1),
                ("relationships", &[0, 1, 3, 2], 2),
                ("predicates", &[1, 1], 1),
                ("img_to_first_box", &[0, 2], 1),
                ("img_to_last_box", &[1, 3], 1),
                ("img_to_first_rel", &[0, 1], 1),
                ("img_to_last_rel", &[0, 1], 1),
                ("split", &[0, 2], 1),
            ];
            for (name, values, width) in tables {
                let mut values = values.to_vec();
                change(name, &mut values);
                let rows = values.len() as u64 / width;
                if rows > 0 {
                    let shape: &[u64] =
                        if name.starts_with("img") || name == "split" { &[rows] } else { &[rows, width] };
                    builder.create_dataset(name).with_data(&values).with_shape(shape);
                }
            }
            builder.write(folder.path().join("VG-SGG.h5").to_str().unwrap()).unwrap();
            let dictionary = r#"{"label_to_idx": {"cup": 2, "person": 1}, "predicate_to_idx": {"holds": 1}}"#;
            std::fs::write(folder.path().join("d.json"), dictionary).unwrap();
            Self { folder }
        }

        fn read(&self, split: Split) -> Result<GraphSet> {
            read_h5(&self.folder.path().join("VG-SGG.h5"), &self.folder.path().join("d.json"), split)
        }
    }

    #[test]
    fn h5_by_hand() {
        let fake = Fake::new(|_, _| {});
        let set = fake.read(Split::Test).unwrap();
        assert_eq!(set.vocabulary.objects, ["__background__", "person", "cup"]);
        assert_eq!(set.images.len(), 1);
        let graph = &set.images[0].graph;
        // 10 - 5/2 = 7.5 is cut to 7.
        assert_eq!(graph.boxes, [[7.0, 8.0, 12.0, 12.0], [18.0, 18.0, 22.0, 22.0]]);
        assert_eq!((graph.labels.clone(), graph.relations[0].subject), (vec![2, 1], 1));
        // So few are all trained on.
        assert_eq!(fake.read(Split::Validation).unwrap().images.len(), 0);
        assert_eq!(fake.read(Split::Train).unwrap().images.len(), 1);
        let named = r#"{"label_to_idx": {"__background__": 0, "cup": 2, "person": 1}, "predicate_to_idx": {"__background__": 0, "holds": 1}}"#;
        std::fs::write(fake.folder.path().join("d.json"), named).unwrap();
        assert_eq!(fake.read(Split::Test).unwrap(), set);
        std::fs::write(fake.folder.path().join("d.json"), named.replace(r#""cup": 2"#, r#""cup": 0"#)).unwrap();
        let error = fake.read(Split::Test).unwrap_err().to_string();
        assert!(error.contains("'cup' has the number 0, expected 1: each from 1 once"), "{error}");
    }

    #[test]
    fn each_h5_file_finds_its_dictionary() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let error = dictionary_beside(&at("VG-SGG-with-attri.h5")).unwrap_err().to_string();
        assert!(error.contains("expected VG-SGG-dicts-with-attri.json or "), "{error}");
        std::fs::write(at("VG-SGG-dicts.json"), "").unwrap();
        assert_eq!(dictionary_beside(&at("VG-SGG-with-attri.h5")).unwrap(), at("VG-SGG-dicts.json"));
        std::fs::write(at("VG-SGG-dicts-with-attri.json"), "").unwrap();
        assert_eq!(dictionary_beside(&at("VG-SGG-with-attri.h5")).unwrap(), at("VG-SGG-dicts-with-attri.json"));
        assert_eq!(dictionary_beside(&at("VG-SGG.h5")).unwrap(), at("VG-SGG-dicts.json"));
    }

    #[test]
    fn h5_faults_are_named() {
        let error = |table: &'static str, values: Vec<i32>| {
            let fake = Fake::new(move |name, v| {
                if name == table {
                    v.clone_from(&values);
                }
            });
            fake.read(Split::Test).unwrap_err().to_string()
        };
        assert!(error("labels", vec![]).contains("has no readable dataset 'labels'"), "{}", error("labels", vec![]));
        assert!(error("labels", vec![1, 1, 1]).contains("'labels' has 3 rows, expected 4"));
        assert!(error("labels", vec![1, 1, 1, 9]).contains("image 1: label 1 is 9, but there are 3 classes"));
        assert!(error("relationships", vec![0, 1, 0, 3]).contains("image 1: a relation names box 0"));
        assert!(
            error("img_to_last_box", vec![1, 9]).contains("image 1: its boxes are said to be 2 to 9, but there are 4")
        );
        assert!(error("predicates", vec![1, 5]).contains("image 1: relation 0: predicate 5 is not in 1..=1"));
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.h5");
        std::fs::write(&text, "no h5").unwrap();
        let fake = Fake::new(|_, _| {});
        let error = read_h5(&text, &fake.folder.path().join("d.json"), Split::Test).unwrap_err().to_string();
        assert!(error.contains("text.h5: no HDF5 file"), "{error}");
    }

    #[test]
    fn plain_json_counts() {
        let Some(data) = std::env::var_os("LOSSMITH_TEST_DATA") else {
            eprintln!("skipped: LOSSMITH_TEST_DATA is not set");
            return;
        };
        let set = read_json_scenes(&PathBuf::from(data).join("vg/vg_150_50_50_test_first4000.json.gz")).unwrap();
        let boxes: usize = set.images.iter().map(|i| i.graph.boxes.len()).sum();
        let relations: usize = set.images.iter().map(|i| i.graph.relations.len()).sum();
        assert_eq!((set.images.len(), boxes, relations), (4000, 39_659, 32_686));
    }
}
