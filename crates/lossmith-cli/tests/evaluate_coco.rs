//! `lossmith evaluate coco` gives pycocotools' figures, and names what is wrong with its input.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

fn evaluate(truth: &Path, predictions: &Path, more: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("lossmith"));
    command.args(["evaluate", "coco", "--truth"]).arg(truth).arg("--predictions").arg(predictions).args(more);
    command.output().unwrap()
}

/// All 24 figures to the last bit, if LOSSMITH_TEST_DATA names the folder of test data.
#[test]
fn the_figures_are_those_of_pycocotools() {
    let Ok(folder) = std::env::var("LOSSMITH_TEST_DATA") else {
        eprintln!("skipped: LOSSMITH_TEST_DATA names no folder");
        return;
    };
    let folder = PathBuf::from(folder).join("coco");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected_metrics.json")).unwrap()).unwrap();
    for kind in ["segm", "bbox"] {
        let predictions = folder.join(format!("instances_val2014_fake{kind}100_results.json"));
        let truth = folder.join("instances_val2014_100.json");
        let output = evaluate(&truth, &predictions, &["--iou-type", kind, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ours: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(ours, expected[kind], "{kind}");
        assert_eq!(ours.as_object().unwrap().len(), 12);
    }
}

const TRUTH: &str = r#"{"images": [{"id": 1, "width": 8, "height": 6}], "categories": [{"id": 3, "name": "disc"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0,
                     "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]}]}"#;

#[test]
fn faults_name_file_and_record() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, predictions) = (folder.path().join("gt.json"), folder.path().join("dt.json"));
    std::fs::write(&truth, TRUTH).unwrap();
    for (result, kind, fault) in [
        (
            r#"{"image_id": 2, "category_id": 3, "score": 1, "bbox": [1, 1, 2, 2]}"#,
            "bbox",
            "dt.json, result 0: its image_id 2 is not among the 1 images",
        ),
        (
            r#"{"image_id": 1, "category_id": 3, "score": 1, "segmentation": {"size": [6, 8], "counts": "52"}}"#,
            "segm",
            "dt.json, result 0: the counts add up to 7 pixels, expected 6 x 8 = 48",
        ),
        (
            r#"{"image_id": 1, "category_id": 3, "score": 1, "bbox": [1, 1, 2, 2]}"#,
            "segm",
            "dt.json, result 0: it has no 'segmentation'; expected masks, or --iou-type bbox",
        ),
    ] {
        std::fs::write(&predictions, format!("[{result}]")).unwrap();
        let output = evaluate(&truth, &predictions, &["--iou-type", kind]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(fault), "{said}");
    }
    std::fs::write(&predictions, r#"[{"image_id": 1, "category_id": 3, "score": 1, "bbox": [1, 1, 2, 2]}]"#).unwrap();
    let output = evaluate(&truth, &predictions, &["--iou-type", "bbox"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && table.contains("AP50") && table.contains("1.0000"), "{table}");
}
