//! What a kill, a full disk or a hostile file leaves behind: nothing, and an error in words.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn program() -> PathBuf {
    assert_cmd::cargo::cargo_bin("lossmith")
}

fn lossmith(folder: &Path) -> Command {
    let mut command = Command::new(program());
    command.current_dir(folder);
    command
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                all.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const GENERATORS: [(&str, &str); 6] =
    [("digits", "400"), ("holds", "40"), ("shapes", "60"), ("sticks", "60"), ("rosettes", "40"), ("hubs", "400")];

#[test]
fn a_killed_generator_leaves_a_whole_folder_or_none_and_the_next_clears_up() {
    for (kind, train) in GENERATORS {
        let place = tempfile::tempdir().unwrap();
        let make = |out: &str| {
            let mut command = lossmith(place.path());
            command
                .args(["data", "make", kind, "--train", train, "--test", "10", "--out", out])
                .stdout(std::process::Stdio::null());
            command
        };
        let begun = std::time::Instant::now();
        assert!(make("whole").status().unwrap().success());
        let (whole, took) = (content(&place.path().join("whole")), begun.elapsed());
        let mut killed = 0;
        for step in 1..=12 {
            let mut child = make("out").spawn().unwrap();
            std::thread::sleep(took * step / 12);
            child.kill().unwrap();
            killed += usize::from(!child.wait().unwrap().success());
            let out = place.path().join("out");
            if out.exists() {
                assert!(content(&out) == whole, "{kind}: half a folder after {step} of 12");
                fs::remove_dir_all(&out).unwrap();
            }
        }
        assert!(killed > 0, "{kind} was never killed");
        assert!(make("out").status().unwrap().success());
        assert_eq!(names(place.path()), ["out", "whole"], "{kind}");
        assert!(content(&place.path().join("out")) == whole);
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    for (kind, train) in GENERATORS {
        let place = tempfile::tempdir().unwrap();
        // No file may be longer than 1 KiB: the system refuses as a full disk does, in the middle of the work.
        let script = r#"trap '' XFSZ; ulimit -f 1; exec "$0" "$@""#;
        let output = Command::new("bash")
            .args(["-c", script, program().to_str().unwrap()])
            .args(["data", "make", kind, "--train", train, "--test", "10", "--out", "a/out"])
            .current_dir(place.path())
            .output()
            .unwrap();
        let (code, err) = told(&output);
        assert!(code == Some(2) && err.contains("a/out") && err.contains("cannot write"), "{kind}: {code:?} {err}");
        assert!(!err.contains(".part"), "{err}");
        assert!(names(place.path()).is_empty(), "{kind}: {:?}", names(place.path()));
    }
}

#[test]
fn limits_come_from_the_environment() {
    let place = tempfile::tempdir().unwrap();
    assert!(
        lossmith(place.path())
            .args(["data", "make", "digits", "--train", "50", "--test", "9", "--out", "d"])
            .status()
            .unwrap()
            .success()
    );
    let info = |limits: &str| {
        told(&lossmith(place.path()).args(["data", "info", "d"]).env("LOSSMITH_LIMITS", limits).output().unwrap())
    };
    assert_eq!(info("bytes=1MiB"), (Some(0), String::new()));
    let (code, err) = info("bytes=1KiB");
    assert!(code == Some(2) && err.contains("would take 38.3 KiB of memory; at most 1 KiB are taken"), "{err}");
    let (code, err) = info("bytes=lots");
    assert!(code == Some(2) && err.contains("LOSSMITH_LIMITS: 'bytes=lots': expected bytes=N"), "{err}");
}

/// Runs with no more than 6 GB of addresses, so that what takes too much aborts, and no longer than a minute.
fn bounded(place: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", r#"ulimit -v 6000000; exec "$0" "$@""#, program().to_str().unwrap()])
        .args(arguments)
        .current_dir(place)
        .output()
        .unwrap();
    told(&output)
}

#[test]
fn what_blocks_never_ends_or_exhausts_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    let categories: Vec<String> = (1..=100_000).map(|id| format!(r#"{{"id":{id},"name":"c{id}"}}"#)).collect();
    let truth = |categories: &str| {
        format!(
            r#"{{"images":[{{"id":1,"width":9,"height":9}}],"categories":[{categories}],
                "annotations":[{{"id":1,"image_id":1,"category_id":1,"bbox":[0,0,5,5],"area":25}}]}}"#
        )
    };
    put("many.json", &truth(&categories.join(",")));
    put("truth.json", &truth(&categories[0]));
    put("found.json", r#"[{"image_id":1,"category_id":1,"score":0.5,"bbox":[0,0,5,5]}]"#);
    assert!(Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap().success());
    let coco = |truth, found| ["evaluate", "coco", "--iou-type", "bbox", "--truth", truth, "--predictions", found];
    assert_eq!(bounded(place.path(), &coco("truth.json", "found.json")), (Some(0), String::new()));
    for (arguments, part) in [
        (
            &coco("many.json", "found.json")[..],
            "many.json: the table of its 100000 categories would take 18.1 GiB of memory",
        ),
        (&coco("/dev/zero", "found.json"), "/dev/zero: it is a device: expected a file"),
        (&coco("pipe", "found.json"), "pipe: it is a pipe: expected a file"),
        (&coco("truth.json", "pipe"), "pipe: it is a pipe: expected a file"),
        (&["search", "classifier", "--recipe", "pipe", "--out", "r"], "pipe: it is a pipe"),
        (&["losses", "@pipe"], "pipe: it is a pipe"),
        (&["losses", "eval", "baikal", "--input", "pipe"], "pipe: it is a pipe"),
        (&["losses", "@/dev/zero"], "@/dev/zero: it is a device"),
    ] {
        let (code, err) = bounded(place.path(), arguments);
        assert!(code == Some(2) && err.contains(part), "{arguments:?}: {code:?} {err}");
    }
    assert!(!place.path().join("r").exists());
}
