//! VG-SGG.h5 from the file to a score, by both models of scene graphs.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use hdf5_pure::FileBuilder;

fn lossmith(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("lossmith").unwrap();
    let output = command.current_dir(folder).args(arguments).env("RAYON_NUM_THREADS", "1").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A person holds a glass near a table, in so many training images, every one with relations, and six test images; the third training
/// image has no boxes, as some of the real file have none.
fn write(folder: &Path, train: i32) {
    let images: Vec<i32> = (0..train + 7).collect();
    let empty = |image: i32| image == 2;
    let filled = images.iter().filter(|&&image| !empty(image)).count() as i32;
    let numbered = |each: i32, end: i32| -> Vec<i32> {
        let mut next = 0;
        let place = |&image: &i32| {
            if empty(image) {
                return -1;
            }
            next += each;
            next - each + end * (each - 1)
        };
        images.iter().map(place).collect()
    };
    let boxes = |i: i32| {
        let at = 100 + i % 7 * 30;
        [[at, 300, 81, 200], [at + 40, 280, 20, 20], [600, 400, 300, 150]].concat()
    };
    let tables: [(&str, Vec<i32>, u64); 10] = [
        ("boxes_1024", (0..filled).flat_map(boxes).collect(), 4),
        ("boxes_512", (0..filled).flat_map(|i| boxes(i).into_iter().map(|v| v / 2)).collect(), 4),
        ("labels", (0..filled).flat_map(|_| [1, 2, 3]).collect(), 1),
        ("relationships", (0..filled).flat_map(|i| [3 * i, 3 * i + 1, 3 * i, 3 * i + 2]).collect(), 2),
        ("predicates", (0..filled).flat_map(|_| [1, 2]).collect(), 1),
        ("img_to_first_box", numbered(3, 0), 1),
        ("img_to_last_box", numbered(3, 1), 1),
        ("img_to_first_rel", numbered(2, 0), 1),
        ("img_to_last_rel", numbered(2, 1), 1),
        ("split", images.iter().map(|&image| if image <= train { 0 } else { 2 }).collect(), 1),
    ];
    let mut builder = FileBuilder::new();
    for (name, values, width) in &tables {
        let rows = values.len() as u64 / width;
        let flat = name.starts_with("img") || *name == "split";
        let shape = if flat { vec![rows] } else { vec![rows, *width] };
        builder.create_dataset(name).with_data(values).with_shape(&shape);
    }
    builder.write(folder.join("VG-SGG.h5").to_str().unwrap()).unwrap();
    let names = r#"{"label_to_idx": {"person": 1, "glass": 2, "table": 3}, "predicate_to_idx": {"holding": 1, "near": 2},
        "idx_to_label": {"1": "person", "2": "glass", "3": "table"}, "object_count": {"person": 9}}"#;
    fs::write(folder.join("VG-SGG-dicts.json"), names).unwrap();
}

#[test]
fn both_models_go_from_the_file_to_a_score() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    write(folder, 5_030);
    let (code, out, err) = lossmith(folder, &["data", "info", "VG-SGG.h5"]);
    assert!(code == 0 && out.contains("Visual Genome") && out.contains("30 images, 30 with relations"), "{out}{err}");
    assert!(out.contains("6 images, 6 with relations"), "{out}");

    let (code, out, err) =
        lossmith(folder, &["train", "reldn", "--data", "VG-SGG.h5", "--epochs", "3", "--out", "reldn", "--json"]);
    assert_eq!(code, 0, "{err}");
    let trained: serde_json::Value = serde_json::from_str(&out).unwrap();
    let (code, _, err) =
        lossmith(folder, &["predict", "reldn", "--model", "reldn", "VG-SGG.h5", "--out", "found", "--no-pictures"]);
    assert_eq!(code, 0, "{err}");
    let files = ["--truth", "VG-SGG.h5", "--predictions", "found/predictions.jsonl", "--train", "VG-SGG.h5", "--json"];
    let (code, out, err) = lossmith(folder, &[&["evaluate", "visual-genome"], &files[..]].concat());
    assert_eq!(code, 0, "{err}");
    let judged: serde_json::Value = serde_json::from_str(&out).unwrap();
    let mean = &judged["groups"]["all"]["constraint"]["mean"];
    assert_eq!(mean, &trained["figures"]["predcls"], "training and evaluation agree");
    assert!(mean[1].as_f64().unwrap() > 0.4, "{mean}");

    let train = ["train", "cmat", "--data", "VG-SGG.h5", "--epochs", "2", "--out", "cmat", "--set", "agents.hidden=8"];
    let (code, _, err) = lossmith(folder, &train);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = lossmith(folder, &["predict", "cmat", "--model", "cmat", "VG-SGG.h5", "--top", "3"]);
    assert!(code == 0 && out.lines().count() == 6, "{out}{err}");
    let explain = ["predict", "cmat", "--model", "cmat", "VG-SGG.h5", "--scene", "2", "--explain", "1"];
    let (code, out, err) = lossmith(folder, &explain);
    assert!(code == 0 && out.contains("glass is true"), "{out}{err}");
}

/// Fewer images than are published for validation are all trained on; the file with attributes finds its dictionary.
#[test]
fn a_small_file_with_attributes_is_trained_on() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), 20);
    for (from, to) in [("VG-SGG.h5", "VG-SGG-with-attri.h5"), ("VG-SGG-dicts.json", "VG-SGG-dicts-with-attri.json")] {
        fs::rename(place.path().join(from), place.path().join(to)).unwrap();
    }
    let (code, out, err) = lossmith(place.path(), &["data", "info", "VG-SGG-with-attri.h5"]);
    assert!(code == 0 && out.contains("20 images, 20 with relations"), "{out}{err}");
    let train = ["train", "reldn", "--data", "VG-SGG-with-attri.h5", "--epochs", "1", "--out", "run"];
    let (code, _, err) = lossmith(place.path(), &train);
    assert_eq!(code, 0, "{err}");
    fs::remove_file(place.path().join("VG-SGG-dicts-with-attri.json")).unwrap();
    let (code, _, err) = lossmith(place.path(), &["data", "info", "VG-SGG-with-attri.h5"]);
    let wanted =
        "VG-SGG-with-attri.h5: there is no dictionary of its classes beside it: expected VG-SGG-dicts-with-attri.json";
    assert!(code == 2 && err.contains(wanted), "{err}");
}
