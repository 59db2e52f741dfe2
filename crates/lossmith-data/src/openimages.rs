//! Open Images visual relationships as CSV: annotations, image-level labels, predictions.
//!
//! Annotations: `ImageID, LabelName1, LabelName2, XMin1, XMax1, YMin1, YMax1, XMin2, XMax2, YMin2, YMax2, RelationshipLabel`,
//! in any order of columns; boxes are normalised to 0..1. Labels: `ImageID, LabelName, Confidence`. Predictions: the
//! annotations' columns and `Score`. Files may be joined into one, as the official tool does: rows without `LabelName1` are no
//! relations. Rows of label files count as verified whatever their confidence: 1 is present, 0 is verified absence.
//!
//! Classes are numbered from 0 and predicates from 1 in the alphabetical order of their names (`/m/04bcr3`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use lossmith::graph::{Corners, Relation, SceneGraph, Triple, Vocabulary};
use lossmith::metric::triplets::{Detection, Located};

use crate::graph_json::{GraphSet, ImageGraph};
use crate::source::Source;
use crate::{DataError, Result, limits};

const RELATION: [&str; 12] = [
    "ImageID",
    "LabelName1",
    "LabelName2",
    "XMin1",
    "XMax1",
    "YMin1",
    "YMax1",
    "XMin2",
    "XMax2",
    "YMin2",
    "YMax2",
    "RelationshipLabel",
];

/// One row of annotations or predictions.
struct Row {
    line: u64,
    image: String,
    subject: String,
    object: String,
    predicate: String,
    boxes: [Corners; 2],
    score: f64,
}

/// Reads annotations and, if there are any, image-level labels.
///
/// # Errors
/// A column is missing, a row is cut short or holds no number, a box is wrong: the error names file and line.
pub fn read_truth(annotations: &Path, labels: Option<&Path>) -> Result<GraphSet> {
    let mut rows = read_rows(annotations, false)?.into_iter().collect::<Result<Vec<Row>>>()?;
    // Boxes of 0 to 1 lie in pictures of 1 by 1; a file whose boxes are mostly larger has pixels.
    let small = rows.iter().filter(|row| row.boxes.as_flattened().iter().all(|v| *v <= 1.0)).count();
    if 2 * small > rows.len() {
        rows = rows.into_iter().map(|row| row.inside(annotations)).collect::<Result<_>>()?;
    }
    let verified = labels.map(read_labels).transpose()?.unwrap_or_default();
    let classes: BTreeSet<&str> = rows
        .iter()
        .flat_map(|r| [r.subject.as_str(), r.object.as_str()])
        .chain(verified.iter().map(|(_, label)| label.as_str()))
        .collect();
    let predicates: BTreeSet<&str> = rows.iter().map(|r| r.predicate.as_str()).collect();
    let vocabulary = Vocabulary {
        objects: classes.into_iter().map(str::to_owned).collect(),
        predicates: predicates.into_iter().map(str::to_owned).collect(),
    };
    let names = Names::new(&vocabulary);
    let mut images: BTreeMap<&str, ImageGraph> = BTreeMap::new();
    let image = |name| ImageGraph { image: str::to_owned(name), ..ImageGraph::default() };
    for row in &rows {
        let graph = &mut images.entry(&row.image).or_insert_with(|| image(&row.image)).graph;
        let [subject, object] = [(row.boxes[0], &row.subject), (row.boxes[1], &row.object)]
            .map(|(corners, class)| node(graph, corners, names.objects[class.as_str()]));
        graph.relations.push(Relation { subject, object, predicate: names.predicates[row.predicate.as_str()] });
    }
    for (name, label) in &verified {
        images.entry(name).or_insert_with(|| image(name)).verified.push(names.objects[label.as_str()]);
    }
    Ok(GraphSet { images: images.into_values().collect(), vocabulary })
}

/// Predictions, by image.
#[derive(Debug, Default)]
pub struct Predictions {
    /// The detections of each image of the truth, in the file's order.
    pub images: HashMap<String, Vec<Detection>>,
    /// How many rows are wrong, or name an image, a class or a predicate that the truth does not have.
    pub wrong: usize,
    /// What is wrong with the first of them.
    pub first: Option<DataError>,
}

impl Predictions {
    fn note(&mut self, fault: DataError, skip_bad: bool) -> Result<()> {
        if !skip_bad {
            return Err(fault);
        }
        self.wrong += 1;
        self.first.get_or_insert(fault);
        Ok(())
    }
}

/// Reads predictions. With `skip_bad` rows that are wrong or of unknown images are left out, and those of unknown classes or
/// predicates are numbered past the truth's last: the official tool ignores them or counts them as wrong.
///
/// # Errors
/// As for the truth; a score that is no finite number; an image, a class or a predicate that the truth does not have, and then
/// the error lists some that it has.
pub fn read_predictions(path: &Path, truth: &GraphSet, skip_bad: bool) -> Result<Predictions> {
    let vocabulary = &truth.vocabulary;
    let names = Names::new(vocabulary);
    let known: HashSet<&str> = truth.images.iter().map(|i| i.image.as_str()).collect();
    // Boxes of 0 to 1 lie in pictures of 1 by 1.
    let normalised = truth.images.iter().flat_map(|i| &i.graph.boxes).flatten().all(|v| *v <= 1.0);
    let mut found = Predictions::default();
    let mut rows = Vec::new();
    for row in read_rows(path, true)? {
        let row = row.and_then(|row| if normalised { row.inside(path) } else { Ok(row) });
        let row = match row {
            Ok(row) => row,
            Err(fault) => {
                found.note(fault, skip_bad)?;
                continue;
            }
        };
        let wrong = |what: &str, name: &str, some: String| {
            let message = format!("{what} '{name}' is none of the truth's: it has {some}");
            DataError::record(path, format!("line {}", row.line), message)
        };
        if !known.contains(row.image.as_str()) {
            let some = listed(truth.images.iter().map(|i| i.image.as_str()));
            found.note(wrong("image", &row.image, some), skip_bad)?;
            continue;
        }
        let class = [&row.subject, &row.object].into_iter().find(|class| !names.objects.contains_key(class.as_str()));
        if let Some(class) = class {
            let some = listed(vocabulary.objects.iter().map(String::as_str));
            found.note(wrong("class", class, some), skip_bad)?;
        } else if !names.predicates.contains_key(row.predicate.as_str()) {
            let some = listed(vocabulary.predicates.iter().map(String::as_str));
            found.note(wrong("predicate", &row.predicate, some), skip_bad)?;
        }
        rows.push(row);
    }
    for row in rows {
        let list = found.images.entry(row.image).or_default();
        let class = |name: &str| names.objects.get(name).copied().unwrap_or(vocabulary.objects.len() as u32);
        let predicate = names.predicates.get(row.predicate.as_str()).copied();
        let triple = Triple {
            subject: class(&row.subject),
            predicate: predicate.unwrap_or(vocabulary.predicates.len() as u32 + 1),
            object: class(&row.object),
        };
        let at = Located { triple, subject: row.boxes[0], object: row.boxes[1] };
        list.push(Detection { at, score: row.score, pair: list.len() as u32 });
    }
    Ok(found)
}

/// The first names of a list, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = names.collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

struct Names<'a> {
    objects: HashMap<&'a str, u32>,
    predicates: HashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn new(vocabulary: &'a Vocabulary) -> Self {
        let number = |names: &'a [String], from: u32| names.iter().map(String::as_str).zip(from..).collect();
        Self { objects: number(&vocabulary.objects, 0), predicates: number(&vocabulary.predicates, 1) }
    }
}

/// The node of this box and class; an "is" relation has one node at both ends.
fn node(graph: &mut SceneGraph, corners: Corners, label: u32) -> u32 {
    let same = |at: &usize| graph.boxes[*at] == corners && graph.labels[*at] == label;
    let found = (0..graph.boxes.len()).find(same);
    found.unwrap_or_else(|| {
        graph.boxes.push(corners);
        graph.labels.push(label);
        graph.boxes.len() - 1
    }) as u32
}

fn read_labels(path: &Path) -> Result<Vec<(String, String)>> {
    let (mut reader, [image, label]) = open(path, ["ImageID", "LabelName"])?;
    let mut labels = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| fault(path, &e))?;
        labels.push((record[image].to_owned(), record[label].to_owned()));
    }
    Ok(labels)
}

impl Row {
    /// The row, if its boxes are not beyond the far edges of a picture of 1 by 1.
    fn inside(self, path: &Path) -> Result<Self> {
        match self.boxes.iter().find(|b| b[0] > 1.0 || b[1] > 1.0) {
            None => Ok(self),
            Some(b) => {
                let message =
                    format!("a box has XMin {} and YMin {}: outside of the image, which is 1 x 1", b[0], b[1]);
                Err(DataError::record(path, format!("line {}", self.line), message))
            }
        }
    }
}

/// The rows that are relations, each with what is wrong with it.
fn read_rows(path: &Path, scored: bool) -> Result<Vec<Result<Row>>> {
    let (mut reader, columns) = open(path, RELATION)?;
    let score = match reader.headers().map_err(|e| fault(path, &e))?.iter().position(|h| h.trim() == "Score") {
        None if scored => return Err(DataError::content(path, "has no column 'Score', which predictions have")),
        found => found.filter(|_| scored),
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) if record[columns[1]].trim().is_empty() => {}
            Ok(record) => rows.push(read_row(path, &record, columns, score)),
            Err(e) => rows.push(Err(fault(path, &e))),
        }
    }
    Ok(rows)
}

fn read_row(path: &Path, record: &csv::StringRecord, columns: [usize; 12], score: Option<usize>) -> Result<Row> {
    let line = record.position().map_or(0, csv::Position::line);
    let wrong = |message: String| DataError::record(path, format!("line {line}"), message);
    let number = |column: usize, name: &str| {
        let text = record[column].trim();
        let number = text.parse::<f64>().ok().filter(|v| v.is_finite());
        number.ok_or_else(|| wrong(format!("{name} is '{text}', expected a finite number")))
    };
    let mut numbers = [0.0; 8];
    for (at, to) in numbers.iter_mut().enumerate() {
        *to = number(columns[3 + at], RELATION[3 + at])?;
    }
    let corners = |n: &[f64]| [n[0], n[2], n[1], n[3]];
    let boxes = [corners(&numbers[..4]), corners(&numbers[4..])];
    if let Some(b) = boxes.iter().find(|b| b[2] < b[0] || b[3] < b[1]) {
        let sides = format!("a box has XMin {}, XMax {}, YMin {}, YMax {}", b[0], b[2], b[1], b[3]);
        return Err(wrong(format!("{sides}: the wrong way round")));
    }
    if let Some(b) = boxes.iter().find(|b| b[2] < 0.0 || b[3] < 0.0) {
        return Err(wrong(format!("a box has XMax {} and YMax {}: outside of the image", b[2], b[3])));
    }
    let score = score.map_or(Ok(1.0), |column| number(column, "Score"))?;
    let [image, subject, object, predicate] = [0, 1, 2, 11].map(|at| record[columns[at]].trim().to_owned());
    if object.is_empty() || predicate.is_empty() {
        return Err(wrong("LabelName2 or RelationshipLabel is empty".to_owned()));
    }
    Ok(Row { line, image, subject, object, predicate, boxes, score })
}

/// Opens a CSV file and finds the columns by name.
fn open<const N: usize>(path: &Path, names: [&str; N]) -> Result<(csv::Reader<Source<'static>>, [usize; N])> {
    let mut reader = csv::Reader::from_reader(Source::open(path)?.text());
    let headers = reader.headers().map_err(|e| fault(path, &e))?.clone();
    let mut columns = [0; N];
    for (column, name) in columns.iter_mut().zip(names) {
        *column = headers.iter().position(|h| h.trim() == name).ok_or_else(|| {
            let there: Vec<&str> = headers.iter().collect();
            DataError::content(path, format!("has no column '{name}' (there are: {})", there.join(", ")))
        })?;
    }
    Ok((reader, columns))
}

fn fault(path: &Path, e: &csv::Error) -> DataError {
    let line = e.position().map_or_else(|| "its header".to_owned(), |p| format!("line {}", p.line()));
    let message = match e.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} columns, the header has {expected_len}: cut short?")
        }
        csv::ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::FileTooLarge => limits::exceeded(),
        _ => e.to_string(),
    };
    DataError::record(path, line, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel";
    const ROW: &str = "a,/m/2,/m/1,0.1,0.5,0.2,0.6,0.3,0.4,0.3,0.5,holds";

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vrd.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn rows_become_graphs() {
        let again = "a,/m/2,/m/2,0.1,0.5,0.2,0.6,0.1,0.5,0.2,0.6,is";
        let (_keep, path) = file(&format!("{HEADER}\n{ROW}\n{again}\n"));
        let (_keep, labels) = file("ImageID,LabelName,Confidence\na,/m/3,0\nb,/m/1,1\n");
        let set = read_truth(&path, Some(&labels)).unwrap();
        assert_eq!(set.vocabulary.objects, ["/m/1", "/m/2", "/m/3"]);
        assert_eq!(set.vocabulary.predicates, ["holds", "is"]);
        let a = &set.images[0];
        assert_eq!((a.graph.boxes.len(), a.graph.labels.clone(), a.verified.clone()), (2, vec![1, 0], vec![2]));
        assert_eq!(a.graph.boxes[0], [0.1, 0.2, 0.5, 0.6]);
        assert_eq!(a.graph.relations[1], Relation { subject: 0, object: 0, predicate: 2 });
        assert_eq!((set.images[1].image.as_str(), set.images[1].graph.boxes.len()), ("b", 0));

        let (_keep, found) = file(&format!("{HEADER},Score\n{ROW},0.7\n{ROW},0.5\n"));
        let found = &read_predictions(&found, &set, false).unwrap().images["a"];
        assert_eq!((found[0].score, found[0].at.triple.subject, found[1].at.triple.subject), (0.7, 1, 1));
    }

    #[test]
    fn unknown_names_are_errors_that_list_the_known_ones() {
        let (_keep, truth) = file(&format!("{HEADER}\n{ROW}\n"));
        let truth = read_truth(&truth, None).unwrap();
        for (from, to, wanted) in [
            ("a,/m/2", "b,/m/2", "line 2: image 'b' is none of the truth's: it has a"),
            ("/m/2", "person", "line 2: class 'person' is none of the truth's: it has /m/1, /m/2"),
            ("/m/1", "Cup", "line 2: class 'Cup' is none of the truth's: it has /m/1, /m/2"),
            ("holds", "at", "line 2: predicate 'at' is none of the truth's: it has holds"),
            (
                "0.1,0.5,0.2,0.6",
                "2.1,2.5,0.2,0.6",
                "line 2: a box has XMin 2.1 and YMin 0.2: outside of the image, which is 1 x 1",
            ),
        ] {
            let (_keep, path) = file(&format!("{HEADER},Score\n{},0.5\n{ROW},0.7\n", ROW.replacen(from, to, 1)));
            let error = read_predictions(&path, &truth, false).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            let found = read_predictions(&path, &truth, true).unwrap();
            assert_eq!((found.wrong, found.images["a"].last().unwrap().score), (1, 0.7));
            assert_eq!(found.first.unwrap().to_string(), error);
            // What the tool itself sees stays, under a number that the truth does not have.
            let seen = wanted.contains("class") || wanted.contains("predicate");
            assert_eq!(found.images["a"].len(), 1 + usize::from(seen));
        }
    }

    #[test]
    fn faults_name_the_line() {
        let error = |text: &str| read_truth(&file(text).1, None);
        let read = |text: &str| {
            let (_keep, path) = file(text);
            read_truth(&path, None).unwrap_err().to_string()
        };
        assert!(error("").is_err());
        assert!(read(&format!("{HEADER}\n{ROW}\na,b\n")).contains("vrd.csv, line 3: has 2 columns, the header has 12"));
        assert!(
            read(&format!("{HEADER}\n{}\n", ROW.replace("0.6", "x")))
                .contains("line 2: YMax1 is 'x', expected a finite")
        );
        assert!(read(&format!("{HEADER}\n{}\n", ROW.replace("0.6", "0.1"))).contains("the wrong way round"));
        let outside = ROW.replace("0.1,0.5,0.2,0.6", "-0.4,-0.2,0.2,0.6");
        assert!(read(&format!("{HEADER}\n{outside}\n")).contains("line 2: a box has XMax -0.2 and YMax 0.6: outside"));
        let beyond = ROW.replace("0.1,0.5,0.2,0.6", "1.4,1.6,0.2,0.6");
        let beyond = read(&format!("{HEADER}\n{ROW}\n{ROW}\n{beyond}\n"));
        assert!(
            beyond.contains("line 4: a box has XMin 1.4 and YMin 0.2: outside of the image, which is 1 x 1"),
            "{beyond}"
        );
        assert!(read(&format!("{}\n{ROW}\n", HEADER.replace("YMax2", "Y"))).contains("has no column 'YMax2'"));
        let (_keep, path) = file(&format!("{HEADER}\n{ROW}\n"));
        let missing = read_predictions(&path, &GraphSet::default(), false).unwrap_err().to_string();
        assert!(missing.contains("no column 'Score'"), "{missing}");
    }
}
