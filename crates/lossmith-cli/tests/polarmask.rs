//! PolarMask from made data to a score that `evaluate` confirms; comparisons that go on; and what goes wrong.

#![allow(clippy::unwrap_used)]

mod comparison;
mod stopped;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use lossmith_data::label_images::{self, write_picture};
use serde_json::{Value, json};

fn lossmith(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("lossmith").unwrap().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const TINY: [&str; 6] = ["--set", "network.width=64", "--set", "network.height=64", "--set", "train.rate=0.004"];

#[test]
fn train_predict_and_evaluate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, run, out) = (path("data"), path("run"), path("found"));
    let (code, ..) = lossmith(&["data", "make", "shapes", "--train", "96", "--test", "6", "--out", &data]);
    assert_eq!(code, 0);
    let (_, info, _) = lossmith(&["data", "info", &data]);
    assert!(info.contains("COCO") && info.contains("96 images of 128 x 128"), "{info}");

    let train = ["train", "polarmask", "--data", &data, "--epochs", "20", "--out", &run, "--json"];
    let (code, scores, err) = lossmith(&[&train[..], &TINY].concat());
    assert_eq!(code, 0, "{err}");
    let scores = parsed(&scores);
    assert_eq!(scores["images"], 6);
    // A network that says nothing, or the same everywhere, reaches neither.
    assert!(scores["f1_50"].as_f64().unwrap() > 0.25 && scores["AP50"].as_f64().unwrap() > 0.05, "{scores}");
    assert_eq!(fs::read_to_string(path("run/log.jsonl")).unwrap().lines().count(), 20 * 12);
    assert!(Path::new(&path("run/test-4.png")).is_file() && Path::new(&path("run/training.svg")).is_file());
    let (code, _, err) = lossmith(&[&train[..], &TINY].concat());
    assert!(code == 2 && err.contains("not an empty folder"), "{err}");

    // What was learned is where a further training begins.
    let more = path("more");
    let on =
        ["train", "polarmask", "--data", &data, "--weights", &run, "--out", &more, "--set", "train.steps=3", "--json"];
    let (code, _, err) = lossmith(&[&on[..], &TINY].concat());
    assert_eq!(code, 0, "{err}");
    let first = |log: &str| {
        let log = fs::read_to_string(path(log)).unwrap();
        let line = parsed(log.lines().next().unwrap());
        ["class", "rays", "centerness"].map(|part| line[part].as_f64().unwrap()).iter().sum::<f64>()
    };
    let (fresh, further) = (first("run/log.jsonl"), first("more/log.jsonl"));
    assert!(further < 0.8 * fresh, "{fresh} {further}");
    assert_eq!(fs::read_to_string(path("more/log.jsonl")).unwrap().lines().count(), 3);

    // One picture that cannot be read does not stop the others; the ids are those of the ground truth.
    let truth = path("data/test.json");
    let pictures: Vec<String> = (96..102).map(|i| path(&format!("data/images/{i:06}.png"))).collect();
    let mut predict = vec!["predict", "polarmask", "--model", &run, "--truth", &truth, "--out", &out, "--json"];
    predict.extend(["--draw", "rays"].iter().chain(&pictures.iter().map(String::as_str).collect::<Vec<_>>()));
    let (code, counts, err) = lossmith(&predict);
    assert_eq!(code, 0, "{err}");
    let counts = parsed(&counts);
    assert_eq!((counts.as_array().unwrap().len(), &counts[0]["id"]), (6, &json!(97)));
    assert_eq!(fs::read_to_string(path("found/counts.csv")).unwrap().lines().count(), 7);
    assert!(Path::new(&path("found/000096_overlay.png")).is_file());
    assert!(Path::new(&path("found/000096_label.png")).is_file());

    // Where none can be read, no folder is left.
    fs::write(path("broken.png"), b"no picture").unwrap();
    let (code, _, err) =
        lossmith(&["predict", "polarmask", "--model", &run, &path("broken.png"), "--out", &path("nothing")]);
    assert!(code == 2 && err.contains("none of the 1 images could be read"), "{err}");
    assert!(!Path::new(&path("nothing")).exists());

    // What training reported is what evaluation finds.
    let results = path("found/results.json");
    let (code, figures, err) = lossmith(&["evaluate", "coco", "--truth", &truth, "--predictions", &results, "--json"]);
    assert_eq!(code, 0, "{err}");
    for (key, value) in parsed(&figures).as_object().unwrap() {
        assert_eq!(value, &scores[key], "{key}");
    }

    // A model whose weights are of another shape is refused by name.
    let mut about = parsed(&fs::read_to_string(path("run/model.json")).unwrap());
    about["network"]["rays"] = json!(24);
    fs::write(path("run/model.json"), about.to_string()).unwrap();
    let (code, _, err) = lossmith(&["predict", "polarmask", "--model", &run, &pictures[0], "--out", &path("none")]);
    assert!(code == 2 && err.contains("tensor 'head.polar_mask.") && err.contains("the network needs"), "{err}");
    assert!(!Path::new(&path("none")).exists());
}

#[test]
fn a_training_that_was_killed_goes_on_and_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    // Eight steps an epoch: it is stopped within the first and the second one.
    let made = ["--set", "made.train=16", "--set", "made.test=4", "--set", "train.batch=2", "--epochs", "3"];
    let train = [&["train", "polarmask"], &made[..], &TINY].concat();
    let files =
        ["recipe.toml", "log.jsonl", "model.safetensors", "model.json", "training.svg", "scores.json", "test-1.png"];
    stopped::ends_in_the_same_bytes(&train, folder.path(), &files);
}

#[test]
fn losses_are_compared_in_pairs_and_a_stopped_comparison_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let compare = ["compare", "polarmask", "--losses", "polar-iou, smooth-l1", "--seeds", "2", "--json"];
    let new = [&["--set", "made.train=8", "--set", "made.test=4", "--epochs", "1"], &TINY[..]].concat();
    let found = parsed(&comparison::goes_on(&compare, &new, folder.path()));
    assert_eq!(found["losses"], json!(["polar-iou", "smooth-l1-rays(scale=0.3)"]));
    assert_eq!(
        (found["scores"][0].as_array().unwrap().len(), found["verdict"]["pairs"].as_array().unwrap().len()),
        (2, 1)
    );
}

#[test]
fn the_upper_bound_holds_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").to_str().unwrap().to_owned();
    let (code, out, err) = lossmith(&["reproduce", "polarmask/upper-bound", "--out", &run, "--json"]);
    assert_eq!(code, 0, "{err}");
    let result = parsed(&out);
    let iou = |rays: u64, casting: &str, centre: &str| {
        let rows = result["rows"].as_array().unwrap();
        let row = rows.iter().find(|r| r["rays"] == rays && r["casting"] == casting && r["centre"] == centre);
        row.unwrap()["mean_iou"].as_f64().unwrap()
    };
    let mass = [18, 24, 36, 72, 120].map(|rays| iou(rays, "exact", "mass"));
    assert!(mass.is_sorted() && mass[2] > 0.85, "{mass:?}");
    assert!(mass[2] > iou(36, "exact", "box") && mass[2] > iou(36, "published", "mass") + 0.03, "{result}");
    let (code, _, err) = lossmith(&["reproduce", "polarmask/representation", "--out", &(run + "-2")]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_loss_that_diverges_is_an_outcome_of_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let losses = "polar-iou, polar-iou(kernel=\"log(a - b)\")";
    let compare = ["compare", "polarmask", "--losses", losses, "--seeds", "2", "--json"];
    let new = [&["--set", "made.train=8", "--set", "made.test=4", "--epochs", "1"], &TINY[..]].concat();
    let found = parsed(&comparison::goes_on(&compare, &new, folder.path()));
    assert_eq!((&found["diverged"], &found["scores"][1][0]["AP"]), (&json!([0, 2]), &json!(0.0)));
}

#[test]
fn faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("empty")).unwrap();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let (code, _, err) = lossmith(arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        parts.iter().for_each(|part| assert!(err.contains(part), "{arguments:?}: {err}"));
    };
    let train = |more: &[&'static str]| [&["train", "polarmask"], more].concat();
    refused(&train(&["--set", "network.width=100"]), &["recipe: network: width: expected a multiple of 32", "100"]);
    refused(&train(&["--rays", "2"]), &["rays: expected 3 to 3600, found 2"]);
    refused(&train(&["--backbone", "vgg"]), &["backbone", "vgg", "resnet50"]);
    refused(&train(&["--weights", "nowhere.pth", "--set", "made.train=1"]), &["--weights nowhere.pth"]);
    let small: Vec<&str> = "--set made.train=2 --set made.test=1 --epochs 9".split(' ').collect();
    let in_folder = |name: &str, more: &[&str]| {
        let out = path(name);
        let arguments = [&["train", "polarmask", "--out", &out], &small[..], more].concat();
        lossmith(&arguments).2
    };
    let err = in_folder("a", &["--loss", "cross-entropy"]);
    assert!(err.contains("'cross-entropy' is no loss on rays: expected polar-iou or smooth-l1-rays"), "{err}");
    assert!(!Path::new(&path("a")).exists(), "a refused command leaves nothing behind");
    let err = in_folder("b", &["--set", "train.rate=10"]);
    assert!(err.contains("input '") && err.contains("not finite") || err.contains("diverged"), "{err}");
    let err = in_folder("c", &["--set", "network.height=64"]);
    assert!(err.contains("turns: 'all' needs a square network, found 128 x 64"), "{err}");

    let (empty, truth) = (path("empty"), path("gt.json"));
    refused(&["train", "polarmask", "--data", &empty], &["--data", "looked for NAME_label.png"]);
    refused(&["predict", "polarmask", "--model", &empty, "x.png", "--out", &path("p")], &["this is no run folder"]);
    refused(&["compare", "polarmask", "--losses", "polar-iou"], &["expected two or more"]);

    let object = |segmentation: Value| {
        json!({
            "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}],
            "categories": [{"id": 3, "name": "disc"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0,
                             "segmentation": segmentation}]
        })
    };
    let mut strange = object(json!([[1, 1, 3, 1, 3, 3]]));
    strange["annotations"][0]["image_id"] = json!(9);
    for (content, part) in [
        (object(json!([[1, 1, 3, 1]])), "annotation 0 (id 1): its polygon 0 has 4 numbers"),
        (object(json!({"size": [6, 8], "counts": [40, 9]})), "the counts add up to 49 pixels, expected 6 x 8 = 48"),
        (strange, "its image_id 9 is not among the 1 images"),
        (object(json!([[1, 1, 3, 1, 3, 3]])), "image 0 (id 1): its picture"),
    ] {
        fs::write(&truth, content.to_string()).unwrap();
        refused(&["train", "polarmask", "--data", &truth, "--images", &empty], &["gt.json", part]);
    }
    refused(&["train", "polarmask", "--data", &truth], &["a file needs --images"]);

    // A bow tie has no area; a network cannot be trained on nothing, and is told so before anything is made.
    write_picture(
        Path::new(&path("empty/a.png")),
        &label_images::Picture { height: 6, width: 8, channels: 3, samples: vec![9; 144] },
    )
    .unwrap();
    let bow_tie = object(json!([[1, 1, 5, 5, 5, 1, 1, 5]]));
    let mut six = bow_tie;
    six["images"] = (1..=6).map(|id| json!({"id": id, "file_name": "a.png", "width": 8, "height": 6})).collect();
    fs::write(&truth, six.to_string()).unwrap();
    let none = path("none");
    let train = ["train", "polarmask", "--data", &truth, "--images", &empty, "--out", &none];
    refused(&train, &["1 objects in 5 pictures", "no pictures with an object to learn from"]);
    assert!(!Path::new(&none).exists());
}
