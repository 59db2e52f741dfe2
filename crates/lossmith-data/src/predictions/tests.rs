//! Predictions in every form that is read, and what is refused.

use lossmith::graph::Vocabulary;
use ndarray::array;

use super::*;
use crate::graph_json::ImageGraph;

const LINES: &str = concat!(
    r#"{"image": "a.jpg", "boxes": [[10, 20, 110, 220], [90, 100, 130, 140]], "labels": [0, 1], "scores": [0.75, 0.5], "#,
    r#""pairs": [[0, 1], [1, 0], [0, 1]], "predicates": [[0.125, 3, -2.5], [0, 1, 0.25], [0, 0, 9]]}"#,
    "\n\n",
    r#"{"image": 7, "pairs": [[0, 1]], "predicates": [[0.5, 0.25, 0.25]]}"#,
    "\n"
);

fn truth() -> GraphSet {
    let graph = SceneGraph {
        boxes: vec![[10.0, 20.0, 110.0, 220.0], [90.0, 100.0, 130.0, 140.0]],
        labels: vec![0, 1],
        relations: Vec::new(),
    };
    let image = |image: &str| ImageGraph { image: image.to_owned(), graph: graph.clone(), ..ImageGraph::default() };
    GraphSet { vocabulary: Vocabulary::default(), images: vec![image("a.jpg"), image("7")] }
}

fn read(name: &str, bytes: &[u8]) -> Result<Vec<Prediction>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    Predictions::open(&path, &truth())?.map(|entry| entry?.read(&path)).collect()
}

#[test]
fn every_form_says_the_same() {
    let lines = read("p.jsonl", LINES.as_bytes()).unwrap();
    let scores = lines[0].clone().scores(&truth().images[0].graph);
    assert_eq!(scores.predicates, array![[0.125, 3.0, -2.5], [0.0, 1.0, 0.25], [0.0, 0.0, 9.0]]);
    assert_eq!((scores.pairs.len(), lines[1].image.as_str()), (3, "7"));
    assert_eq!(lines[1].clone().scores(&truth().images[1].graph).scores, [1.0, 1.0]);

    let list = format!("\u{feff} [{}]", LINES.trim().replace("\n\n", ","));
    assert_eq!(read("p.json", list.as_bytes()).unwrap(), lines);
    assert_eq!(read("p.jsonl", format!("\u{feff}{LINES}").replace('\n', "\r\n").as_bytes()).unwrap(), lines);
    for pickle in [
        &include_bytes!("../../tests/fixtures/predictions-2.pkl")[..],
        include_bytes!("../../tests/fixtures/predictions-4.pkl"),
        include_bytes!("../../tests/fixtures/predictions-5.pkl"),
    ] {
        assert_eq!(read("p.bin", pickle).unwrap(), lines);
    }
    assert_eq!(read("p.pkl", include_bytes!("../../tests/fixtures/predictions-0.pkl")).unwrap(), lines[1..]);
    let mut arrays = read("p.npz", include_bytes!("../../tests/fixtures/predictions.npz")).unwrap();
    arrays.reverse();
    assert_eq!(arrays, lines);
    // Without names they are the truth's images in their order.
    let motifs = read("p.pkl", include_bytes!("../../tests/fixtures/motifs.pkl")).unwrap();
    assert_eq!((&motifs[0], motifs[1].image.as_str(), motifs[1].predicates.dim()), (&lines[0], "7", (0, 3)));
    let again = Prediction::line("a.jpg", &scores);
    assert_eq!(read("p.jsonl", again.as_bytes()).unwrap()[0].clone().scores(&truth().images[0].graph), scores);
}

#[test]
fn faults_name_file_and_place() {
    let error = |name: &str, bytes: &[u8]| read(name, bytes).unwrap_err().to_string();
    let line = |from: &str, to: &str| error("p.jsonl", LINES.replacen(from, to, 1).as_bytes());
    for (from, to, wanted) in [
        (
            "[0, 0, 9]]",
            "[0, 9]]",
            "p.jsonl, line 1: image a.jpg, predicates of pair 2: 2 numbers, the first pair has 3",
        ),
        ("-2.5", "NaN", "p.jsonl, line 1: no prediction: "),
        (
            "\"image\": 7",
            "\"id\": 7",
            "p.jsonl, line 3: no prediction: unknown field `id`, expected one of `image`, `boxes`",
        ),
        ("\"image\": 7, ", "", "line 3: no prediction: missing field `image`"),
        ("\"image\": 7", "\"image\": [7]", "expected a name or a whole number"),
    ] {
        let message = line(from, to);
        assert!(message.contains(wanted), "{message}");
    }
    for (name, bytes, wanted) in [
        ("p.json", &b"[{}]"[..], "p.json, entry 0: no prediction: missing field `image`"),
        ("p.json", b"[", "no JSON list of records"),
        (
            "p.pkl",
            include_bytes!("../../tests/fixtures/objects.pkl"),
            "its numbers are of type 'O8': expected plain numbers",
        ),
        ("p.pkl", b"]}a.", "it has 1 predictions that do not all have an 'image', and the truth has 2 images"),
        ("p.pkl", b"(dI7\n(dU\x04boxsN\x81s.", "that plain data does not need"),
        (
            "p.pkl",
            b"(dI7\n(dU\x04boxs]ss.",
            "image 7: unknown key 'boxs': expected image, boxes, labels, scores, pairs, predicates",
        ),
        ("p.pkl", b"(dI7\n(dU\x05pairs]ss.", "image 7: it has no 'predicates'"),
        ("p.pkl", b"(dI7\nI8\ns.", "'7' is no dictionary"),
        ("p.pkl", b"I7\n.", "neither a list nor a dictionary"),
        ("p.npz", b"PK\x03\x04", "no readable .npz archive"),
    ] {
        let message = error(name, bytes);
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn tables_are_whole_numbers_where_they_must_be() {
    let parts = |key: &str, table: Table| {
        let mut parts =
            Parts { pairs: Some((1, 2, vec![0.0, 1.0])), predicates: Some((1, 2, vec![0.0; 2])), ..Parts::default() };
        if key == "pairs" {
            parts.pairs = None;
        }
        parts.put(key, table).and_then(|()| parts.prediction("a".to_owned()))
    };
    assert!(parts("labels", (2, 1, vec![3.0, 4.0])).is_ok());
    for (key, table, wanted) in [
        ("labels", (1, 1, vec![0.5]), "'labels' has 0.5: expected whole numbers from 0 on"),
        ("pairs", (1, 2, vec![0.0, -1.0]), "'pairs' has -1: expected whole numbers"),
        ("pairs", (1, 3, vec![0.0; 3]), "'pairs' has 3 columns: expected 2"),
        ("boxes", (1, 5, vec![0.0; 5]), "'boxes' has 5 columns: expected 4"),
        ("predicates", (1, 2, vec![0.0; 2]), "'predicates' is there twice"),
    ] {
        assert_eq!(parts(key, table).unwrap_err().split(" from").next(), wanted.split(" from").next());
    }
}
