//! Open Images visual relationships as CSV: annotations, image-level labels, predictions.
//!
//! Annotations: `ImageID, LabelName1, LabelName2, XMin1, XMax1, YMin1, YMax1, XMin2, XMax2, YMin2, YMax2, RelationshipLabel`,
//! in any order of columns; boxes are normalised to 0..1. Labels: `ImageID, LabelName, Confidence`. Predictions: the
//! annotations' columns and `Score`. Files may be joined into one, as the official tool does: rows without `LabelName1` are no
//! relations. Rows of label files count as verified whatever their confidence: 1 is present, 0 is verified absence.
//!
//! Classes are numbered from 0 and predicates from 1 in the alphabetical order of their names (`/m/04bcr3`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    let rows = read_rows(annotations, false)?;
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

/// Reads predictions, by image. Rows with a class or predicate that the truth does not have are numbered past its last.
///
/// # Errors
/// As for the truth, or a score that is no finite number.
pub fn read_predictions(path: &Path, vocabulary: &Vocabulary) -> Result<HashMap<String, Vec<Detection>>> {
    let names = Names::new(vocabulary);
    let mut images: HashMap<String, Vec<Detection>> = HashMap::new();
    for row in read_rows(path, true)? {
        let list = images.entry(row.image).or_default();
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
    Ok(images)
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

fn read_rows(path: &Path, scored: bool) -> Result<Vec<Row>> {
    let (mut reader, columns) = open(path, RELATION)?;
    let score = match reader.headers().map_err(|e| fault(path, &e))?.iter().position(|h| h.trim() == "Score") {
        None if scored => return Err(DataError::content(path, "has no column 'Score', which predictions have")),
        found => found.filter(|_| scored),
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| fault(path, &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |column: usize| record[columns[column]].trim();
        if text(1).is_empty() {
            continue;
        }
        let number = |column: usize, name: &str| {
            let text = record[column].trim();
            text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| {
                DataError::record(path, format!("line {line}"), format!("{name} is '{text}', expected a finite number"))
            })
        };
        let mut numbers = [0.0; 8];
        for (at, to) in numbers.iter_mut().enumerate() {
            *to = number(columns[3 + at], RELATION[3 + at])?;
        }
        let corners = |n: &[f64]| [n[0], n[2], n[1], n[3]];
        let boxes = [corners(&numbers[..4]), corners(&numbers[4..])];
        if let Some(b) = boxes.iter().find(|b| b[2] < b[0] || b[3] < b[1]) {
            let message =
                format!("a box has XMin {}, XMax {}, YMin {}, YMax {}: the wrong way round", b[0], b[2], b[1], b[3]);
            return Err(DataError::record(path, format!("line {line}"), message));
        }
        if let Some(b) = boxes.iter().find(|b| b[2] < 0.0 || b[3] < 0.0) {
            let message = format!("a box has XMax {} and YMax {}: outside of the image", b[2], b[3]);
            return Err(DataError::record(path, format!("line {line}"), message));
        }
        let score = score.map_or(Ok(1.0), |column| number(column, "Score"))?;
        let [image, subject, object, predicate] = [text(0), text(1), text(2), text(11)].map(str::to_owned);
        rows.push(Row { line, image, subject, object, predicate, boxes, score });
    }
    if let Some(row) = rows.iter().find(|r| r.object.is_empty() || r.predicate.is_empty()) {
        let message = "LabelName2 or RelationshipLabel is empty";
        return Err(DataError::record(path, format!("line {}", row.line), message));
    }
    Ok(rows)
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

        let (_keep, found) = file(&format!("{HEADER},Score\n{ROW},0.7\n{},0.5\n", ROW.replace("/m/2", "/m/9")));
        let found = &read_predictions(&found, &set.vocabulary).unwrap()["a"];
        assert_eq!((found[0].score, found[0].at.triple.subject, found[1].at.triple.subject), (0.7, 1, 3));
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
        assert!(read(&format!("{}\n{ROW}\n", HEADER.replace("YMax2", "Y"))).contains("has no column 'YMax2'"));
        let (_keep, path) = file(&format!("{HEADER}\n{ROW}\n"));
        let missing = read_predictions(&path, &Vocabulary::default()).unwrap_err().to_string();
        assert!(missing.contains("no column 'Score'"), "{missing}");
    }
}
