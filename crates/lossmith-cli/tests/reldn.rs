//! A tiny model of scene graphs from training to a score, and what goes wrong on the way.

#![allow(clippy::unwrap_used)]

mod comparison;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

fn lossmith(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("lossmith").unwrap().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn near(a: &Value, b: &Value) -> bool {
    (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9
}

#[test]
fn train_predict_and_evaluate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, run, found) = (path("data"), path("run"), path("found"));
    let (code, _, err) = lossmith(&["data", "make", "holds", "--train", "60", "--test", "20", "--out", &data]);
    assert_eq!(code, 0, "{err}");
    let (code, out, _) = lossmith(&["data", "info", &data]);
    assert!(code == 0 && out.contains("scene graphs") && out.contains("60 images, 60 with relations"), "{out}");

    let train = ["train", "reldn", "--data", &data, "--epochs", "10", "--seed", "3", "--json", "--out", &run];
    let (code, out, err) = lossmith(&train);
    assert_eq!(code, 0, "{err}");
    let figures = &parsed(&out)["figures"];
    // Frequencies alone tie the glasses and reach about a fifth.
    assert!(figures["recall_at_truth"].as_f64().unwrap() > 0.5, "{figures}");
    assert_eq!(fs::read_to_string(path("run/log.jsonl")).unwrap().lines().count(), 10);
    let (code, _, err) = lossmith(&train);
    assert!(code == 2 && err.contains("not an empty folder"), "{err}");
    let again = path("again");
    lossmith(&[&train[..10], &[again.as_str()]].concat());
    let weights = |run: &str| fs::read(Path::new(run).join("model.safetensors")).unwrap();
    assert!(weights(&run) == weights(&again), "the same seed makes the same bytes");

    // What training reported is what evaluation finds in the predictions.
    let (code, out, err) = lossmith(&["predict", "reldn", "--model", &run, &data, "--out", &found]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("test-00000.png") && out.contains("holds") && out.contains("(true)"), "{out}");
    let predictions = path("found/predictions.jsonl");
    let truth = path("data/test-graphs.json");
    let evaluate = |protocol: &[&str]| {
        let files = ["--truth", &truth, "--predictions", &predictions, "--json"];
        let (code, out, err) = lossmith(&[&["evaluate"], protocol, &files].concat());
        assert_eq!(code, 0, "{err}");
        parsed(&out)["groups"]["all"].clone()
    };
    let graphs = evaluate(&["visual-genome"]);
    assert!(near(&graphs["constraint"]["mean"][1], &figures["predcls"][1]), "{graphs}");
    let openimages = evaluate(&["openimages-vrd", "--tool", "reldn"]);
    assert!(near(&openimages["score_wtd"], &figures["openimages"]["score_wtd"]), "{openimages}");
    let vrd = evaluate(&["vrd", "--task", "predicate"]);
    assert_eq!(vrd["hits"], figures["predicate"][0]["hits"]);
    let svg = fs::read_to_string(path("found/pictures/test-00000.png.svg")).unwrap();
    assert!(svg.contains("person") && svg.contains("marker-end"));

    // A user's own image, with names for labels, without truth.
    let own = path("own.jsonl");
    let image = json!({"image": "mine.png", "size": [180, 180], "boxes": [[10, 10, 24, 36], [30, 12, 38, 20]], "labels": ["person", "glass"]});
    fs::write(&own, format!("{image}\n")).unwrap();
    let (code, _, err) = lossmith(&["predict", "reldn", "--model", &run, &own]);
    assert!(code == 2 && err.contains("image mine.png: it has no feature vectors"), "{err}");
    let blind = path("blind");
    let set = ["--modules", "semantic,spatial", "--epochs", "1", "--predicate-groups", "default", "--out", &blind];
    let (code, _, err) = lossmith(&[&["train", "reldn", "--data", &data], &set[..]].concat());
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = lossmith(&["predict", "reldn", "--model", &blind, &own, "--json", "--least", "0"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(parsed(&out)["relations"].as_array().unwrap().len(), 2);
    fs::write(&own, format!("{}\n", image.to_string().replace("glass", "glas"))).unwrap();
    let (code, _, err) = lossmith(&["predict", "reldn", "--model", &blind, &own]);
    assert!(
        code == 2 && err.contains("own.jsonl, line 1") && err.contains("label 1 is 'glas', which is no class"),
        "{err}"
    );
}

#[test]
fn the_backbone_learns_from_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").to_str().unwrap().to_owned();
    let tiny = [
        "--set",
        "data.train=8",
        "--set",
        "data.test=4",
        "--set",
        "data.pictures=true",
        "--set",
        "model.channels=[8, 8]",
    ];
    let arguments =
        ["train", "reldn", "--set", "model.side=90", "--set", "model.width=16", "--epochs", "6", "--out", &run];
    let (code, _, err) = lossmith(&[&arguments[..], &tiny[..]].concat());
    assert_eq!(code, 0, "{err}");
    let log = fs::read_to_string(folder.path().join("run/log.jsonl")).unwrap();
    let losses: Vec<f64> = log.lines().map(|l| parsed(l)["loss"].as_f64().unwrap()).collect();
    assert!(losses[5] < 0.7 * losses[0], "{losses:?}");
}

#[test]
fn losses_are_compared_in_pairs_and_a_stopped_comparison_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let compare = ["compare", "reldn", "--losses", "l0, l0+l1", "--seeds", "2", "--epochs", "1", "--json"];
    let small = ["--set", "data.train=10", "--set", "data.test=5"];
    let found = parsed(&comparison::goes_on(&[&compare[..], &small].concat(), &[], folder.path()));
    assert_eq!(found["figures"]["l0+l1"].as_array().unwrap().len(), 2);
    let run = folder.path().join("comparison").to_str().unwrap().to_owned();
    let (code, _, err) = lossmith(&[&compare[..], &["--resume", &run]].concat());
    assert!(code == 2 && err.contains("its recipe is another"), "{err}");
}

#[test]
fn a_loss_that_diverges_is_an_outcome_of_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let losses = "l0, graphical-contrastive(margin=\"exp(99*n)/p\")";
    let compare = ["compare", "reldn", "--losses", losses, "--seeds", "2", "--epochs", "2", "--json"];
    let small = ["--set", "data.train=10", "--set", "data.test=5"];
    let found = parsed(&comparison::goes_on(&[&compare[..], &small].concat(), &[], folder.path()));
    assert_eq!(found["diverged"], json!([0, 2]));
}

#[test]
fn faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (arguments, wanted) in [
        (vec!["train", "reldn", "--loss", "baikal"], "expected a sum of l0, l1, l2 and l3"),
        (vec!["train", "reldn", "--modules", "verbal"], "expected semantic, spatial or visual, found 'verbal'"),
        (vec!["train", "reldn", "--data", empty], "expected a folder with train-graphs.json and test-graphs.json"),
        (vec!["train", "reldn", "--set", "train.rate=0"], "train.rate: expected a number above 0"),
        (vec!["compare", "reldn", "--losses", "l0"], "expected two or more"),
        (vec!["predict", "reldn", "--model", empty, "x.json"], "this is no run folder"),
        (vec!["reproduce", "reldn/vrd", "--out", "never"], "needs --data"),
    ] {
        let (code, _, err) = lossmith(&arguments);
        assert!(code == 2 && err.contains(wanted), "{arguments:?}: {err}");
    }
    let _ = fs::remove_dir_all("never");
}
