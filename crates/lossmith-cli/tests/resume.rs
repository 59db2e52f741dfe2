//! A run goes on as what it began as, or not at all: other data, another recipe, program, arithmetic or command are refused.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The exit code, and what was said.
fn lossmith(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Two data sets of a kind; the run is of the first.
fn make_data(folder: &Path, kind: &str, size: [&str; 2]) {
    for (name, seed) in [("data", "1"), ("other", "2")] {
        let make = ["data", "make", kind, "--out", name, "--train", size[0], "--test", size[1], "--seed", seed];
        let (code, said) = lossmith(folder, &make);
        assert_eq!(code, 0, "{said}");
    }
}

/// Begins `command` with what only a new run is told and with what is told each time, and tries to go on with other things.
fn goes_on_as_it_began(folder: &Path, command: &[&str], new: &[&str], always: &[&str]) {
    let (code, said) = lossmith(folder, &[command, new, always, &["--out", "run"]].concat());
    // The answer of a comparison may be no.
    assert!(code <= 1, "{said}");
    let resume = [command, always, &["--resume", "run"]].concat();
    let goes_on = |why: &str| {
        let (code, said) = lossmith(folder, &resume);
        assert!(code <= 1, "{why}: {said}");
    };
    let refused = |resume: &[&str], part: &str| {
        let before = files(&folder.join("run"));
        let (code, said) = lossmith(folder, resume);
        assert!(code == 2 && said.contains("--resume run: ") && said.contains(part), "{part}: {said}");
        assert!(files(&folder.join("run")) == before, "{part}: a refused command changed the run");
    };
    goes_on("nothing is changed");
    if let Some(at) = resume.iter().position(|word| *word == "--seeds") {
        // Seeds that are added until somebody wins say nothing.
        let mut more = resume.clone();
        more[at + 1] = "3";
        refused(&more, "");
    }
    let swap = || {
        for (from, to) in [("data", "kept"), ("other", "data"), ("kept", "other")] {
            fs::rename(folder.join(from), folder.join(to)).unwrap();
        }
    };
    swap();
    refused(&resume, "this data (checksum) is not the run's");
    swap();
    for (file, from, to, part) in [
        ("recipe.toml", "seed = ", "seed = 7", "this recipe is not the run's"),
        ("identity.json", "\"version\": \"", "\"version\": \"9", "this program version is not the run's"),
        ("identity.json", "\"arithmetic\": \"", "\"arithmetic\": \"other ", "this arithmetic is not the run's"),
    ] {
        let path = folder.join("run").join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        refused(&resume, part);
        fs::write(&path, text).unwrap();
    }
    for other in [["train", "embedding"], ["compare", "cmat"], ["search", "classifier"]] {
        let known = command[..2] == other;
        let losses: &[&str] = if other[0] == "compare" { &["--losses", "cmat,degree"] } else { &[] };
        if !known {
            refused(&[&other[..], losses, &["--resume", "run"]].concat(), "this is a run of `");
        }
    }
    fs::rename(folder.join("run/identity.json"), folder.join("identity.json")).unwrap();
    refused(&resume, "it has no identity.json");
    fs::rename(folder.join("identity.json"), folder.join("run/identity.json")).unwrap();
    goes_on("all is as it was");
}

/// Names and contents.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), fs::read(path).unwrap())
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(read).collect();
    files.sort();
    files
}

fn sets<'a>(sets: &[&'a str]) -> Vec<&'a str> {
    sets.iter().flat_map(|set| ["--set", set]).collect()
}

#[test]
fn classifiers() {
    let folder = tempfile::tempdir().unwrap();
    make_data(folder.path(), "digits", ["300", "60"]);
    let small = ["data.validation=60", "train.steps=8", "train.eval_every=8", "compare.seeds=2"];
    let new = [&["--data", "data"], &sets(&small)[..]].concat();
    let losses = ["--losses", "cross-entropy,baikal"];
    goes_on_as_it_began(folder.path(), &["compare", "classifier"], &[&new[..], &losses].concat(), &[]);
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    let few = ["search.population=12", "search.generations=2", "search.steps=4", "search.confirm=1"];
    let new = [&new[..], &sets(&few), &sets(&["cma_es.generations=0", "compare.tune_rate=false"])].concat();
    goes_on_as_it_began(folder.path(), &["search", "classifier"], &new, &[]);
}

#[test]
fn embedding() {
    let folder = tempfile::tempdir().unwrap();
    make_data(folder.path(), "sticks", ["8", "3"]);
    let small = sets(&["model.widths=[8, 12]", "model.side=32", "model.batch=2", "model.steps=3"]);
    let new = [&["--data", "data"], &small[..]].concat();
    goes_on_as_it_began(folder.path(), &["train", "embedding"], &new, &[]);
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    let losses = ["--losses", "discriminative, discriminative(norm=l1)", "--seeds", "2"];
    goes_on_as_it_began(folder.path(), &["compare", "embedding"], &new, &losses);
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    let small = ["task.model.widths=[8, 12]", "task.model.side=32", "task.model.batch=2", "task.model.steps=3"];
    let few = ["search.population=4", "search.generations=1", "search.steps=2", "search.savings.halving_steps=0"];
    let end = ["cma_es.generations=0", "search.confirm=1", "compare.seeds=2", "search.savings.equal_gradients=off"];
    let new = [&["--slot", "pull", "--data", "data"], &sets(&small)[..], &sets(&few), &sets(&end)].concat();
    goes_on_as_it_began(folder.path(), &["search", "embedding"], &new, &[]);
}

#[test]
fn polarmask() {
    let folder = tempfile::tempdir().unwrap();
    make_data(folder.path(), "shapes", ["8", "3"]);
    let small = sets(&["network.width=64", "network.height=64", "train.steps=2"]);
    let new = [&["--data", "data"], &small[..]].concat();
    goes_on_as_it_began(folder.path(), &["train", "polarmask"], &new, &[]);
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    let losses = ["--losses", "polar-iou,smooth-l1", "--seeds", "2"];
    goes_on_as_it_began(folder.path(), &["compare", "polarmask"], &new, &losses);
}

#[test]
fn cmat() {
    let folder = tempfile::tempdir().unwrap();
    make_data(folder.path(), "hubs", ["12", "4"]);
    let small = sets(&["agents.hidden=8", "agents.pair=4", "train.epochs=1", "train.policy_epochs=1"]);
    let new = [&["--data", "data"], &small[..]].concat();
    goes_on_as_it_began(folder.path(), &["train", "cmat"], &new, &[]);
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    let losses = ["--losses", "cross-entropy,degree", "--seeds", "2"];
    goes_on_as_it_began(folder.path(), &["compare", "cmat"], &new, &losses);
}

#[test]
fn reldn() {
    let folder = tempfile::tempdir().unwrap();
    make_data(folder.path(), "holds", ["12", "4"]);
    let always = ["--data", "data", "--epochs", "1", "--losses", "l0,l0+l1", "--seeds", "2"];
    goes_on_as_it_began(folder.path(), &["compare", "reldn"], &[], &always);
}

/// A figure that takes no time has an identity like any other run.
#[test]
fn reproduce() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = lossmith(folder.path(), &["reproduce", "discriminative/toy", "--out", "run"]);
    assert_eq!(code, 0, "{said}");
    let resume = ["reproduce", "discriminative/toy", "--resume", "run"];
    assert_eq!(lossmith(folder.path(), &resume).0, 0);
    let (code, said) = lossmith(folder.path(), &["reproduce", "glo/fig2", "--resume", "run"]);
    assert!(code == 2 && said.contains("this is a run of `reproduce discriminative/toy`"), "{said}");
    let recipe = folder.path().join("run/recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, format!("more = 1\n{text}")).unwrap();
    let (code, said) = lossmith(folder.path(), &resume);
    assert!(code == 2 && said.contains("this recipe is not the run's") && said.contains("more = 1"), "{said}");
    let refused = ["reproduce", "glo/fig2", "--set", "train.steps=0", "--out", "other"];
    assert_eq!(lossmith(folder.path(), &refused).0, 2);
    assert!(!folder.path().join("other").exists(), "a refused recipe leaves no folder");
}
