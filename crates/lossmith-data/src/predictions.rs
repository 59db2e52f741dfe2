//! What models say about the relations of images: JSON lines, a JSON list, numpy's `.npz`, or a pickle of plain data; each but the
//! arrays may be gzip.
//!
//! ```json
//! {"image": "a.jpg", "boxes": [[10, 20, 110, 220], [90, 100, 130, 140]], "labels": [0, 1], "scores": [0.9, 0.8],
//!  "pairs": [[0, 1]], "predicates": [[0.1, 0.7, 0.2]]}
//! ```
//! `boxes` are `[x1, y1, x2, y2]`. `labels` count as those of the truth do: from 0 in graph JSON, from 1 in VG-SGG.h5. `pairs` are places
//! in `boxes`, subject and object, from 0. A row of `predicates` holds the scores of a pair: first that of no relation, then those of
//! predicates 1, 2, ...; they are ranked and not weighed, so they need not add up to 1, and any finite numbers do. `boxes` and `labels`
//! may be left out where the truth gives them, `scores` where they are 1.
//!
//! A pickle is a list of such dictionaries, or a dictionary of them by image; without names they are the truth's images in their order. The
//! keys may be those of Neural Motifs (`pred_boxes`, `pred_classes`, `obj_scores`, `pred_rel_inds`, `rel_scores`). A `.npz` has the arrays
//! `IMAGE/KEY`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lossmith::graph::{Corners, GraphScores, SceneGraph};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use self::array::Array;
use self::pickle::{At, Pickle, Value};
use crate::graph_json::{GraphSet, name};
use crate::records::JsonRecords;
use crate::{DataError, Result, limits, source};

mod array;
mod pickle;
#[cfg(test)]
mod tests;

/// What a model says about one image; boxes and labels may be those of the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The image's name.
    pub image: String,
    boxes: Option<Vec<Corners>>,
    labels: Option<Vec<u32>>,
    scores: Option<Vec<f64>>,
    pairs: Vec<[u32; 2]>,
    predicates: Array2<f64>,
}

/// The predictions of a file, one at a time: read them with [`Entry::read`].
pub struct Predictions {
    path: PathBuf,
    source: Source,
}

enum Source {
    Json(JsonRecords),
    /// All there are, with their places in the file.
    All(std::vec::IntoIter<(String, Content)>),
}

/// One prediction as it lies in the file.
#[derive(Debug)]
pub struct Entry {
    /// Where it was found: "line 7", "entry 3".
    pub place: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Json(Vec<u8>),
    Pickled { pickle: Arc<Pickle>, image: String, at: At },
    Arrays { image: String, arrays: Vec<(String, Array)> },
}

/// No entry is added to a batch of as many bytes.
const BATCH_BYTES: usize = 1 << 26;

impl Predictions {
    /// Opens a file; what it is is told by its first bytes.
    ///
    /// # Errors
    /// The system refuses, or a list, an archive or a pickle is not as it should be.
    pub fn open(path: &Path, truth: &GraphSet) -> Result<Self> {
        let mut file = source::Source::open(path)?;
        let head = file.ahead()?;
        let (packed, first) = (head.starts_with(b"PK\x03\x04"), head.first().copied());
        let named = |ending: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        let wrong = |message: String| DataError::content(path, message);
        let all = if packed {
            arrays(&file.all()?).map_err(wrong)?
        } else if first == Some(0x80) || named("pkl") || named("pickle") {
            pickled(&file.all()?, truth).map_err(wrong)?
        } else {
            return Ok(Self { path: path.to_owned(), source: Source::Json(JsonRecords::new(path, file, true)?) });
        };
        Ok(Self { path: path.to_owned(), source: Source::All(all.into_iter()) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next entries, at most `most`, fewer where they are long; none after the last.
    ///
    /// # Errors
    /// As the iterator.
    pub fn batch(&mut self, most: usize) -> Result<Vec<Entry>> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < most && bytes < BATCH_BYTES {
            let Some(entry) = self.next().transpose()? else { break };
            if let Content::Json(text) = &entry.content {
                bytes += text.len();
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl Iterator for Predictions {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::All(all) => all.next().map(|(place, content)| Ok(Entry { place, content })),
            Source::Json(records) => {
                let entry = |(place, text)| Entry { place, content: Content::Json(text) };
                records.next().map(|record| record.map(entry))
            }
        }
    }
}

type All = std::result::Result<Vec<(String, Content)>, String>;

/// The images of an archive of arrays called IMAGE/KEY.
fn arrays(bytes: &[u8]) -> All {
    let mut images: BTreeMap<String, Vec<(String, Array)>> = BTreeMap::new();
    for (entry, array) in array::of_npz(bytes, limits::current().bytes)? {
        let (image, key) =
            entry.rsplit_once('/').ok_or_else(|| format!("'{entry}.npy': expected entries IMAGE/KEY.npy"))?;
        images.entry(image.to_owned()).or_default().push((key.to_owned(), array));
    }
    let entry = |(image, arrays): (String, _)| (format!("image {image}"), Content::Arrays { image, arrays });
    Ok(images.into_iter().map(entry).collect())
}

/// The entries of a pickled list or dictionary; those without a name have the truth's, in its order.
fn pickled(bytes: &[u8], truth: &GraphSet) -> All {
    let pickle = Arc::new(Pickle::read(bytes)?);
    let content = |image: String, at| Content::Pickled { pickle: Arc::clone(&pickle), image, at };
    match pickle.top() {
        Value::Dict(items) => {
            let entry = |&(key, at): &(At, At)| {
                let image =
                    text(pickle.get(key)).ok_or("a key is no name: expected a dictionary of predictions by image")?;
                match pickle.get(at) {
                    Value::Dict(_) => Ok((format!("image {image}"), content(image, at))),
                    _ => Err(format!(
                        "'{image}' is no dictionary: expected a dictionary of predictions by image, or a list of them"
                    )),
                }
            };
            items.iter().map(entry).collect()
        }
        Value::List(items) => {
            let own = |at: &At| match pickle.get(*at) {
                Value::Dict(keys) => {
                    keys.iter().find(|(key, _)| is_text(pickle.get(*key), "image")).map(|(_, value)| *value)
                }
                _ => None,
            };
            let names: Option<Vec<String>> =
                items.iter().map(|at| own(at).and_then(|name| text(pickle.get(name)))).collect();
            let names = match names {
                Some(names) => names,
                None if items.len() == truth.images.len() => truth.images.iter().map(|i| i.image.clone()).collect(),
                None => {
                    return Err(format!(
                        "it has {} predictions that do not all have an 'image', and the truth has {} images: without names expected one for each",
                        items.len(),
                        truth.images.len()
                    ));
                }
            };
            let entries = names.into_iter().zip(items).enumerate();
            Ok(entries.map(|(place, (name, at))| (format!("entry {place}"), content(name, *at))).collect())
        }
        _ => Err("its pickle is neither a list nor a dictionary of predictions".to_owned()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Whole(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_text(value: &Value, wanted: &str) -> bool {
    matches!(value, Value::Text(text) if text == wanted)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl Entry {
    /// Reads it.
    ///
    /// # Errors
    /// Not of this form, or rows of different lengths; the error names file and place.
    pub fn read(&self, path: &Path) -> Result<Prediction> {
        let read = match &self.content {
            Content::Json(text) => of_json(text),
            Content::Arrays { image, arrays } => {
                let mut parts = Parts::default();
                let put = |(key, array): &(String, Array)| {
                    parts.put(key, array.table().map_err(|e| format!("'{key}' is {e}"))?)
                };
                arrays.iter().try_for_each(put).and_then(|()| parts.prediction(image.clone()))
            }
            Content::Pickled { pickle, image, at } => of_pickle(pickle, *at, image),
        };
        read.map_err(|message| DataError::record(path, self.place.clone(), message))
    }
}

type Checked<T> = std::result::Result<T, String>;

fn of_json(text: &[u8]) -> Checked<Prediction> {
    let line: Line = serde_json::from_slice(text).map_err(|e| format!("no prediction: {e}"))?;
    let width = line.predicates.first().map_or(0, Vec::len);
    if let Some(at) = line.predicates.iter().position(|row| row.len() != width) {
        let found = line.predicates[at].len();
        return Err(format!(
            "image {}, predicates of pair {at}: {found} numbers, the first pair has {width}",
            line.image
        ));
    }
    let table = line.predicates.iter().flatten().copied().collect();
    let predicates =
        Array2::from_shape_vec((line.predicates.len(), width), table).map_err(|e| format!("predicates: {e}"))?;
    let Line { image, boxes, labels, scores, pairs, .. } = line;
    Ok(Prediction { image, boxes, labels, scores, pairs, predicates })
}

/// Rows, columns, numbers row by row.
type Table = (usize, usize, Vec<f64>);

/// The tables of one prediction by their keys.
#[derive(Default)]
struct Parts {
    boxes: Option<Table>,
    labels: Option<Table>,
    scores: Option<Table>,
    pairs: Option<Table>,
    predicates: Option<Table>,
}

impl Parts {
    fn put(&mut self, key: &str, table: Table) -> Checked<()> {
        let place = match key {
            "boxes" | "pred_boxes" => &mut self.boxes,
            "labels" | "pred_classes" => &mut self.labels,
            "scores" | "obj_scores" => &mut self.scores,
            "pairs" | "pred_rel_inds" => &mut self.pairs,
            "predicates" | "rel_scores" => &mut self.predicates,
            _ => return Err(format!("unknown key '{key}': expected image, boxes, labels, scores, pairs, predicates")),
        };
        match place.replace(table) {
            None => Ok(()),
            Some(_) => Err(format!("'{key}' is there twice")),
        }
    }

    fn prediction(self, image: String) -> Checked<Prediction> {
        let missing = |key: &str| format!("it has no '{key}'");
        let (rows, columns, numbers) = self.predicates.ok_or_else(|| missing("predicates"))?;
        let predicates = Array2::from_shape_vec((rows, columns), numbers).map_err(|e| format!("predicates: {e}"))?;
        let pairs = rows_of::<2>("pairs", self.pairs.ok_or_else(|| missing("pairs"))?)?;
        let whole = |key: &'static str| {
            move |v: f64| {
                if v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&v) {
                    return Ok(v as u32);
                }
                Err(format!("'{key}' has {v}: expected whole numbers from 0 on"))
            }
        };
        let pair = |pair: [f64; 2]| Ok([whole("pairs")(pair[0])?, whole("pairs")(pair[1])?]);
        let column = |key: &str, table: Option<Table>| table.map(|t| rows_of::<1>(key, t)).transpose();
        let labels = column("labels", self.labels)?;
        Ok(Prediction {
            image,
            boxes: self.boxes.map(|t| rows_of::<4>("boxes", t)).transpose()?,
            labels: labels.map(|l| l.into_iter().map(|[v]| whole("labels")(v)).collect::<Checked<_>>()).transpose()?,
            scores: column("scores", self.scores)?.map(|s| s.into_iter().map(|[v]| v).collect()),
            pairs: pairs.into_iter().map(pair).collect::<Checked<_>>()?,
            predicates,
        })
    }
}

/// The rows of a table of so many columns; a table without rows has as many as are wanted.
fn rows_of<const N: usize>(key: &str, (rows, columns, numbers): Table) -> Checked<Vec<[f64; N]>> {
    if columns != N && rows > 0 {
        return Err(format!("'{key}' has {columns} columns: expected {N}"));
    }
    Ok(numbers.as_chunks::<N>().0.to_vec())
}

fn of_pickle(pickle: &Pickle, at: At, image: &str) -> Checked<Prediction> {
    let Value::Dict(items) = pickle.get(at) else { return Err("it is no dictionary".to_owned()) };
    let mut parts = Parts::default();
    for (key, value) in items {
        let key = text(pickle.get(*key)).ok_or("a key is no name")?;
        if key != "image" && *pickle.get(*value) != Value::None {
            parts.put(&key, table(pickle, *value).map_err(|e| format!("'{key}' is {e}"))?)?;
        }
    }
    parts.prediction(image.to_owned())
}

/// An array, or lists of numbers.
fn table(pickle: &Pickle, at: At) -> Checked<Table> {
    let number = |at: &At| match pickle.get(*at) {
        Value::Whole(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    };
    let items = match pickle.get(at) {
        Value::Array(array) => return array.table(),
        Value::List(items) => items,
        _ => return Err("no array and no list".to_owned()),
    };
    if let Some(column) = items.iter().map(number).collect::<Option<Vec<f64>>>() {
        return Ok((column.len(), 1, column));
    }
    let row = |at: &At| match pickle.get(*at) {
        Value::Array(array) => array.table().ok().map(|(_, _, numbers)| numbers),
        Value::List(items) => items.iter().map(number).collect(),
        _ => None,
    };
    let (mut numbers, mut width) = (Vec::new(), None);
    for at in items {
        let row: Vec<f64> = row(at).ok_or("a list of what are no numbers and no rows of numbers")?;
        if *width.get_or_insert(row.len()) != row.len() {
            return Err("a list of rows of different lengths".to_owned());
        }
        numbers.extend(row);
    }
    Ok((items.len(), width.unwrap_or(0), numbers))
}

impl Prediction {
    /// The scores, with boxes and labels of the truth where the prediction has none.
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
