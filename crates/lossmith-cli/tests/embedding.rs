//! A tiny network from training to a score: three commands, and what goes wrong in them.

#![allow(clippy::unwrap_used)]

mod comparison;
mod stopped;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use lossmith_data::label_images::{Labels, Picture, write_labels, write_picture};
use lossmith_data::make::scenes::{Kind, Scenes};

fn lossmith(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("lossmith").unwrap().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

const TINY: [&str; 10] = [
    "--set",
    "model.widths=[8, 12]",
    "--set",
    "model.side=32",
    "--set",
    "model.least_size=8",
    "--set",
    "model.batch=4",
    "--set",
    "model.learning_rate=0.01",
];

#[test]
fn train_predict_and_evaluate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    Scenes { side: 32, train: 12, test: 4, ..Scenes::new(Kind::Sticks, 5) }.write(Path::new(&path("data"))).unwrap();

    let (data, run) = (path("data"), path("run"));
    let train =
        [&["train", "embedding", "--data", &data, "--steps", "400", "--dim", "4", "--out", &run, "--json"], &TINY[..]];
    let (code, out, err) = lossmith(&train.concat());
    assert_eq!(code, 0, "{err}");
    let scores = json(&out);
    assert_eq!(scores["images"], 4);
    assert!(scores["mean"]["fg_dice"].as_f64().unwrap() > 0.5, "{scores}");
    assert!(fs::read_to_string(path("run/log.jsonl")).unwrap().lines().count() == 400);
    let (code, _, err) = lossmith(&train.concat());
    assert!(code == 2 && err.contains("not an empty folder"), "{err}");

    // One unreadable image does not stop the others.
    let test = path("data/test");
    fs::write(path("broken.png"), b"no picture").unwrap();
    let (broken, found) = (path("broken.png"), path("found"));
    let (code, out, err) =
        lossmith(&["predict", "embedding", "--model", &run, &test, &broken, "--out", &found, "--json"]);
    assert_eq!(code, 2);
    assert!(err.contains("broken.png: no readable picture") && err.contains("1 of 5 images failed"), "{err}");
    let counts = json(&out);
    assert_eq!(counts.as_array().unwrap().len(), 4);
    assert_eq!(fs::read_to_string(path("found/counts.csv")).unwrap().lines().count(), 5);
    let one = json(&fs::read_to_string(path("found/sticks0012.json")).unwrap());
    assert_eq!(one["count"], counts[0]["instances"]);
    assert!(Path::new(&path("found/sticks0012_overlay.png")).is_file());

    // A picture may be called as a formula is written; a spreadsheet is given a text.
    let (formula, odd) = (path("=1+1.png"), path("odd"));
    fs::copy(path("data/test/sticks0012_image.png"), &formula).unwrap();
    let (code, _, err) = lossmith(&["predict", "embedding", "--model", &run, &formula, "--out", &odd]);
    assert_eq!(code, 0, "{err}");
    let csv = fs::read_to_string(path("odd/counts.csv")).unwrap();
    assert!(csv.lines().nth(1).unwrap().starts_with("\"'=1+1\","), "{csv}");

    // Where none can be read, no folder is left.
    let (code, _, err) = lossmith(&["predict", "embedding", "--model", &run, &broken, "--out", &path("nothing")]);
    assert!(code == 2 && err.contains("none of the 1 images could be read"), "{err}");
    assert!(!Path::new(&path("nothing")).exists());

    // What training reported is what evaluation finds.
    let (code, out, err) = lossmith(&["evaluate", "instances", "--truth", &test, "--predictions", &found, "--json"]);
    assert_eq!(code, 0, "{err}");
    let report = json(&out);
    for key in ["sbd", "best_dice", "fg_dice", "dic", "abs_dic", "f1_50", "ap_dsb", "pq", "aji"] {
        assert_eq!(report[key], scores["mean"][key], "{key}");
    }
    assert_eq!(report["images"].as_array().unwrap().len(), 4);
    let (code, out, _) = lossmith(&["evaluate", "instances", "--truth", &test, "--predictions", &test, "--lsc-compat"]);
    assert!(code == 0 && out.contains("SBD") && out.contains("1.0000") && out.contains("lsc mode"), "{out}");
}

#[test]
fn the_readmes_commands_count_the_plants_that_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (plants, run, test) = (path("plants"), path("run"), path("plants/test"));
    let made = lossmith(&["data", "make", "rosettes", "--train", "12", "--test", "4", "--out", &plants]);
    assert_eq!(made.0, 0, "{}", made.2);
    let (code, _, err) =
        lossmith(&[&["train", "embedding", "--data", &plants, "--steps", "3", "--out", &run], &TINY[..]].concat());
    assert!(code == 0 && !err.contains("left out"), "{err}");
    let names = ["plant013", "plant014", "plant015", "plant016"];
    let predict = |inputs: &[&str], out: &str| {
        let command = [&["predict", "embedding", "--model", &run, "--out", out, "--json"], inputs].concat();
        let (code, out, err) = lossmith(&command);
        assert_eq!(code, 0, "{err}");
        let counts = json(&out);
        assert_eq!(counts.as_array().unwrap().iter().map(|row| row["image"].clone()).collect::<Vec<_>>(), names);
        err
    };
    let err = predict(&[&test], &path("counted"));
    assert!(err.contains("4 files belong to other pictures and are left out; the first: "), "{err}");
    let (code, out, err) =
        lossmith(&["evaluate", "instances", "--truth", &test, "--predictions", &path("counted"), "--json"]);
    assert_eq!(code, 0, "{err}");
    let rows = json(&out)["images"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect::<Vec<_>>();
    assert_eq!(rows, names);

    // Nor is what a shell makes of a star, or what an earlier prediction left.
    let files: Vec<String> =
        fs::read_dir(&test).unwrap().map(|e| e.unwrap().path().to_str().unwrap().to_owned()).collect();
    let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
    files.sort_unstable();
    assert_eq!(files.len(), 12);
    predict(&files, &path("starred"));
    predict(&[&test], &path("plants/test/earlier"));
    predict(&[&test], &path("again"));
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_falls_out_of_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"Bl\xe4tt_label.png"));
    write_labels(&odd, &Labels { height: 1, width: 2, ids: vec![1, 2] }).unwrap();
    write_labels(&folder.path().join("b_label.png"), &Labels { height: 1, width: 2, ids: vec![1, 2] }).unwrap();
    let data = folder.path().to_str().unwrap();
    for command in [
        &["evaluate", "instances", "--truth", data, "--predictions", data][..],
        &["train", "embedding", "--data", data],
        &["data", "info", data],
    ] {
        let (code, _, err) = lossmith(command);
        assert!(code == 2 && err.contains("its name is not UTF-8; rename it"), "{err}");
    }
}

#[test]
fn label_images_that_may_not_mean_what_they_say_are_doubted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, ids) in [("figure", [255, 0, 255, 0]), ("border", [1, 255, 2, 0]), ("sound", [1, 0, 2, 2])] {
        fs::create_dir(path(name)).unwrap();
        write_labels(
            Path::new(&path(&format!("{name}/a_label.png"))),
            &Labels { height: 1, width: 4, ids: ids.into() },
        )
        .unwrap();
    }
    for (truth, found, said) in [
        ("figure", "sound", "the truth: in none of 1 label images is there a second id"),
        ("sound", "figure", "the predictions: in none of 1 label images is there a second id"),
        ("border", "sound", "the truth: in 1 of 1 label images the ids leap to 255 ('a' is the first)"),
        ("sound", "sound", ""),
    ] {
        let (code, _, err) =
            lossmith(&["evaluate", "instances", "--truth", &path(truth), "--predictions", &path(found)]);
        assert!(code == 0 && err.contains(said) && err.is_empty() == said.is_empty(), "{err}");
    }
    let picture = Picture { height: 1, width: 4, channels: 1, samples: vec![9; 4] };
    write_picture(Path::new(&path("figure/a_image.png")), &picture).unwrap();
    let train = ["train", "embedding", "--data", &path("figure"), "--steps", "1", "--out", &path("run")];
    let (_, _, err) = lossmith(&[&train[..], &TINY].concat());
    assert!(err.contains("in none of 1 label images is there a second id"), "{err}");
}

#[test]
fn a_training_that_was_killed_goes_on_and_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let made = ["--data", "sticks", "--set", "made.train=12", "--set", "made.test=4", "--steps", "40"];
    let train = [&["train", "embedding"], &made[..], &TINY].concat();
    let files = ["recipe.toml", "log.jsonl", "model.safetensors", "test-1.png"];
    stopped::ends_in_the_same_bytes(&train, folder.path(), &files);
    // What is no state of this training is no reason to begin anew without a word.
    let run = folder.path().join("broken");
    fs::remove_file(run.join("model.safetensors")).unwrap();
    fs::write(run.join("checkpoint.bin"), b"lossmith checkpoint 1\nxx").unwrap();
    let (code, _, err) = lossmith(&["train", "embedding", "--resume", run.to_str().unwrap()]);
    assert!(code == 2 && err.contains("checkpoint.bin: this is no whole checkpoint of a training"), "{err}");
}

#[test]
fn losses_are_compared_in_pairs_and_a_stopped_comparison_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let losses = "discriminative, discriminative(norm=l1)";
    let compare = ["compare", "embedding", "--losses", losses, "--seeds", "2", "--json"];
    let new = [&["--data", "sticks", "--set", "model.steps=3"], &TINY[..]].concat();
    let found = json(&comparison::goes_on(&compare, &new, folder.path()));
    assert_eq!(found["values"]["discriminative(norm=l1)"].as_array().unwrap().len(), 2);
    assert_eq!(found["verdict"]["pairs"].as_array().unwrap().len(), 1);
    let (code, _, err) = lossmith(&["compare", "embedding", "--losses", "discriminative"]);
    assert!(code == 2 && err.contains("--losses: expected two or more, separated by commas; found 1"), "{err}");
    let (code, _, err) = lossmith(&["compare", "embedding", "--losses", "discriminative, discriminative"]);
    assert!(code == 2 && err.contains("--losses: discriminative is named twice"), "{err}");
}

#[test]
fn a_loss_that_diverges_is_an_outcome_of_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let losses = "discriminative, discriminative(pull=\"exp(exp(99*d))\")";
    let compare = ["compare", "embedding", "--losses", losses, "--seeds", "2", "--json"];
    let new =
        [&["--data", "sticks", "--set", "made.train=6", "--set", "made.test=2", "--set", "model.steps=4"], &TINY[..]]
            .concat();
    let found = json(&comparison::goes_on(&compare, &new, folder.path()));
    assert_eq!(found["diverged"], serde_json::json!([0, 2]));
    assert_eq!(found["values"]["discriminative(pull=\"exp(exp(99*d))\")"], serde_json::json!([0.0, 0.0]));
}

#[test]
fn faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["truth", "found", "empty"] {
        fs::create_dir(path(name)).unwrap();
    }
    let labels = |side: usize| Labels { height: side, width: side, ids: vec![1; side * side] };
    // A folder that is called as folders of label images are, given by itself.
    fs::create_dir(path("label")).unwrap();
    write_labels(Path::new(&path("label/a.png")), &labels(4)).unwrap();
    write_labels(Path::new(&path("truth/a_label.png")), &labels(4)).unwrap();
    write_labels(Path::new(&path("truth/b_label.png")), &labels(4)).unwrap();
    write_labels(Path::new(&path("found/a.png")), &labels(4)).unwrap();
    let (truth, found, empty) = (path("truth"), path("found"), path("empty"));
    let evaluate =
        |truth: &str, found: &str| lossmith(&["evaluate", "instances", "--truth", truth, "--predictions", found]);
    assert_eq!(evaluate(&path("label"), &found).0, 0);
    let (code, _, err) = evaluate(&truth, &found);
    assert!(code == 2 && err.contains("no prediction for 1 of 2 images (b); expected b.png"), "{err}");
    write_labels(Path::new(&path("found/b.png")), &labels(5)).unwrap();
    assert!(evaluate(&truth, &found).2.contains("b.png: 5 x 5 pixels"), "a size");
    fs::remove_file(path("found/b.png")).unwrap();
    write_picture(Path::new(&path("found/b.png")), &Picture { height: 4, width: 4, channels: 3, samples: vec![0; 48] })
        .unwrap();
    assert!(evaluate(&truth, &found).2.contains("its pixels are Rgb"));
    assert!(evaluate(&empty, &found).2.contains("none of its 0 files"));

    let (code, _, err) = lossmith(&["train", "embedding", "--data", &empty]);
    assert!(code == 2 && err.contains("looked for NAME_label.png"), "{err}");
    let (code, _, err) = lossmith(&["train", "embedding", "--set", "model.dim=0"]);
    assert!(code == 2 && err.contains("dim is 0: expected 1 to 64"), "{err}");
    let (code, _, err) = lossmith(&["predict", "embedding", "--model", &empty, &found, "--out", &path("out")]);
    assert!(code == 2 && err.contains("this is no run folder"), "{err}");
    let (code, _, err) = lossmith(&["evaluate", "cityscapes", "--truth", &empty, "--predictions", &empty]);
    assert!(code == 2 && err.contains("gtFine_instanceIds.png"), "{err}");
}
