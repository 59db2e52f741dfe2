//! Every number that can be typed, at the ends of what numbers can be: refused before a run exists, and never a panic.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use toml::{Table, Value};

/// Below every range, at its lower end, no number, and past every memory.
const EXTREMES: [&str; 8] = ["-1", "0", "nan", "inf", "1e308", "-1e308", "9223372036854775807", "18446744073709551615"];

/// The exit code (none after a signal), and what was said.
fn lossmith(folder: &Path, arguments: &[String]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Runs each command line in a folder with nothing but `taken/`, which no run may use: so what is accepted goes as far as a run's
/// folder, and no further. `named` is what the message of a refused one must hold.
fn refuse(lines: Vec<(Vec<String>, String)>, least_refused: usize) {
    let lines = Mutex::new(lines);
    let (refused, faults) = (Mutex::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let folder = tempfile::tempdir().unwrap();
                fs::create_dir(folder.path().join("taken")).unwrap();
                fs::write(folder.path().join("taken/file"), "mine").unwrap();
                loop {
                    let Some((line, named)) = lines.lock().unwrap().pop() else { return };
                    let (code, said) = lossmith(folder.path(), &line);
                    let accepted = said.contains("taken: ");
                    let named = said.contains(&named) || said.contains("invalid value: integer");
                    let good = code == Some(2) && !said.contains("panicked") && (accepted || named);
                    let left = fs::read_dir(folder.path()).unwrap().count();
                    if !good || left != 1 || fs::read_dir(folder.path().join("taken")).unwrap().count() != 1 {
                        faults.lock().unwrap().push(format!("{}: {code:?}, {left} files: {said}", line.join(" ")));
                    }
                    *refused.lock().unwrap() += usize::from(!accepted);
                }
            });
        }
    });
    let (refused, faults) = (refused.into_inner().unwrap(), faults.into_inner().unwrap());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(refused >= least_refused, "{refused} were refused");
}

/// All numbers of a recipe, dotted; of a list the number of its entries.
fn numbers(table: &Table, prefix: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => found.extend(numbers(inner, &format!("{key}."))),
            Value::Integer(_) | Value::Float(_) => found.push((key, 0)),
            Value::Array(all) if all.iter().all(|v| v.is_integer() || v.is_float()) => {
                found.push((key, all.len().max(1)));
            }
            _ => {}
        }
    }
    found
}

/// Every number of a preset at every extreme, for a command with small data.
fn every_number(command: &str, preset: &str, prefix: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes").join(preset);
    let table: Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let keys = numbers(&table, prefix);
    assert!(keys.len() > 1);
    let mut lines = Vec::new();
    for (key, entries) in &keys {
        for extreme in EXTREMES {
            let value = match entries {
                0 => extreme.to_owned(),
                n => format!("[{}]", vec![extreme; *n].join(", ")),
            };
            let mut line = words(command);
            line.extend(["--out".to_owned(), "taken".to_owned(), "--set".to_owned(), format!("{key}={value}")]);
            // A library names the last word of a key.
            lines.push((line, key.rsplit('.').next().unwrap().to_owned()));
        }
    }
    // All but some zeros, at least.
    let least = lines.len() - 2 * keys.len();
    refuse(lines, least);
}

#[test]
fn classifiers() {
    every_number(
        "search classifier --set data.digits_train=200 --set data.digits_test=40 --set data.validation=40",
        "classifier-laptop.toml",
        "",
    );
    every_number(
        "compare classifier --losses cross-entropy,baikal --set data.digits_train=200 --set data.digits_test=40 --set data.validation=40",
        "classifier-laptop.toml",
        "",
    );
}

#[test]
fn embedding() {
    let small = "--set made.train=4 --set made.test=2";
    every_number(&format!("train embedding {small}"), "embedding-laptop.toml", "");
    let losses = "--losses discriminative,discriminative(norm=l1)";
    every_number(&format!("compare embedding {losses} {small}"), "embedding-laptop.toml", "");
    let small = "--slot pull --set task.made.train=4 --set task.made.test=2";
    every_number(&format!("search embedding {small}"), "embedding-laptop.toml", "task.");
    every_number(&format!("search embedding {small}"), "slot-laptop.toml", "");
}

#[test]
fn polarmask() {
    let small = "--set made.train=4 --set made.test=2";
    every_number(&format!("train polarmask {small}"), "polarmask-laptop.toml", "");
    every_number(&format!("compare polarmask --losses polar-iou,smooth-l1 {small}"), "polarmask-laptop.toml", "");
    let small = "--slot rays --set task.made.train=4 --set task.made.test=2";
    every_number(&format!("search polarmask {small}"), "polarmask-ablation.toml", "task.");
}

#[test]
fn cmat() {
    let small = "--set data.train=4 --set data.test=2";
    every_number(&format!("train cmat {small}"), "cmat-laptop.toml", "");
    every_number(&format!("compare cmat --losses cmat,degree {small}"), "cmat-laptop.toml", "");
    let small = "--slot surrogate --set task.data.train=4 --set task.data.test=2";
    every_number(&format!("search cmat {small}"), "cmat-laptop.toml", "task.");
}

#[test]
fn reldn() {
    let small = "--set data.train=6 --set data.test=3";
    every_number(&format!("train reldn {small}"), "reldn-laptop.toml", "");
    let small = "--slot margin --set task.data.train=6 --set task.data.test=3";
    every_number(&format!("search reldn {small}"), "reldn-laptop.toml", "task.");
}

#[test]
fn generators() {
    let mut lines = Vec::new();
    for kind in ["digits", "holds", "shapes", "sticks", "rosettes", "hubs"] {
        for flag in ["--train", "--test"] {
            for count in EXTREMES.into_iter().chain(["4294967296", "1000000000"]) {
                let line = words(&format!("data make {kind} --out new {flag} {count}"));
                // A number below 0 looks like a flag.
                let named = if count.starts_with('-') { "" } else { flag };
                lines.push((line, named.to_owned()));
            }
        }
    }
    for (flag, count) in
        [("--blocks", "18446744073709551615"), ("--groups", "21"), ("--noise", "1e308"), ("--noise", "nan")]
    {
        lines.push((words(&format!("data make hubs --out new {flag} {count}")), flag[2..].to_owned()));
    }
    let all = lines.len();
    refuse(lines, all);
}

/// Numbers that are no keys of a recipe, and what is no number but was found out after hours too.
#[test]
fn flags() {
    let digits = "--set data.digits_train=200 --set data.digits_test=40 --set data.validation=40 --out taken";
    let mut lines = Vec::new();
    for (line, named) in [
        ("compare classifier --losses cross-entropy,baikal --train-size 161", "--train-size: expected 1 to 160"),
        ("compare classifier --losses cross-entropy,baikal --train-size 0", "--train-size: expected 1 to 160"),
        ("compare classifier --losses cross-entropy,baikal --seeds 4294967295", "compare.seeds"),
        ("train classifier --loss baikal --steps 4294967295", "train.steps"),
        ("search classifier --set search.operators=[]", "operators"),
        ("search classifier --set search.operators=[\"sin\"]", "sin"),
        ("search classifier --set cma_es.population=2", "cma_es.population: expected at least 3"),
        ("search classifier --set search.genome=taylor --set taylor.population=2", "taylor.population"),
        ("search classifier --set train.crop=28", "train.crop: expected less than the side of the images"),
    ] {
        lines.push((words(&format!("{line} {digits}")), named.to_owned()));
    }
    for (line, named) in [
        ("compare embedding --losses discriminative,discriminative(norm=l1) --seeds 18446744073709551615", "--seeds"),
        ("compare embedding --losses discriminative,discriminative(norm=l1) --seeds 1", "--seeds"),
        ("compare embedding --losses discriminative,discriminative(norm=l1) --alpha nan", "--alpha"),
        ("compare embedding --losses baikal,cross-entropy", "this is no loss of embeddings"),
        ("compare polarmask --losses polar-iou,smooth-l1 --alpha 1e308", "--alpha"),
        ("compare polarmask --losses polar-iou,baikal", "baikal"),
        ("compare reldn --alpha 0", "--alpha"),
        ("train embedding --loss baikal", "this is no loss of embeddings"),
        ("train embedding --epochs 18446744073709551615", "model.steps"),
        ("train embedding --seed 18446744073709551615", "model.seed"),
        ("train polarmask --epochs 18446744073709551615", "train.epochs"),
        ("train polarmask --seed 18446744073709551615", "train.seed"),
        ("train cmat --seed 18446744073709551615", "seed"),
        ("train reldn --seed 18446744073709551615", "seed"),
    ] {
        lines.push((words(&format!("{line} --out taken")), named.to_owned()));
    }
    let all = lines.len();
    refuse(lines, all);
}
