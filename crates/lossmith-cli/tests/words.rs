//! What is not used is told: names, flags, recipes, runs; and what the program says of itself.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lossmith_data::tensors::{self, Tensor};
use ndarray::ArrayD;

/// The program, in a folder that is no checkout.
fn lossmith(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = lossmith(folder, arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Each of these command lines is refused with these words.
fn refused(folder: &Path, cases: &[(&[&str], &str)]) {
    for (arguments, said) in cases {
        let (code, out, err) = run(folder, arguments);
        assert!(code == Some(2) && err.contains(said) && out.is_empty(), "{arguments:?}: {code:?} {err}{out}");
    }
}

/// A comparison of seconds.
const QUICK: [&str; 14] = [
    "compare",
    "classifier",
    "--recipe",
    "classifier-quick",
    "--set",
    "data.digits_train=400",
    "--set",
    "data.digits_test=100",
    "--set",
    "data.validation=100",
    "--steps",
    "4",
    "--seeds",
    "2",
];

#[test]
fn tensors_that_a_loss_does_not_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, extra: &str| {
        let logits = Tensor::F32(ArrayD::from_elem(vec![2, 3], 0.5));
        let target = Tensor::I64(ArrayD::from_elem(vec![2], 1));
        let weight = Tensor::F32(ArrayD::from_elem(vec![2], 1.0));
        let all = [("logits", &logits), ("target", &target), (extra, &weight)];
        tensors::write(&folder.path().join(name), all.into_iter().filter(|(name, _)| !name.is_empty())).unwrap();
    };
    write("good.safetensors", "");
    write("more.safetensors", "weight");
    write("near.safetensors", "logit");
    assert_eq!(run(folder.path(), &["losses", "eval", "cross-entropy", "--input", "good.safetensors"]).0, Some(0));
    let eval = |loss: &'static str, file: &'static str| ["losses", "eval", loss, "--input", file];
    refused(
        folder.path(),
        &[
            (
                &eval("cross-entropy", "more.safetensors"),
                "input 'weight': the loss reads no such array (it reads logits, target)",
            ),
            (
                &eval("-x*log(y)", "near.safetensors"),
                "input 'logit': the loss reads no such array, did you mean 'logits'?",
            ),
            (
                &eval("-x*lgo(y)", "good.safetensors"),
                "unknown name 'lgo': the variables are x, y, n, the functions log, exp,",
            ),
            (&eval("powr(y, 2)", "good.safetensors"), "no function of formulas (log, exp,"),
        ],
    );
}

#[test]
fn recipes_numbers_and_keys_are_told_from_others() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &[
            (&["train", "embedding", "--recipe", "embedding-nucle"], "did you mean 'embedding-nuclei'?"),
            (
                &["train", "polarmask", "--recipe", "embedding-nuclei"],
                "this is a recipe for embedding; for polarmask there is: laptop, full, polarmask-ablation",
            ),
            (&["search", "embedding", "--slot", "pull", "--recipe", "labtop"], "did you mean 'laptop'?"),
            (&["search", "classifier", "--set", "search.populaton=3"], "did you mean 'search.population'?"),
            (&["search", "classifier", "--set", "population=3"], "or 'search.population'"),
            (
                &["search", "classifier", "--set", "search.population=-3"],
                "search.population: expected a whole number from 0 to",
            ),
            (&["search", "classifier", "--set", "train.steps=1e3"], "train.steps: expected integer, found float"),
            (
                &["train", "classifier", "--loss", "baikal", "--seed", "-1"],
                "invalid value '-1' for '--seed <N>': expected a whole number from 0 to 18446744073709551615",
            ),
            (
                &["train", "classifier", "--loss", "baikal", "--steps", "1e3"],
                "invalid value '1e3' for '--steps <N>': expected a whole number from 0 to 4294967295",
            ),
            (&["compare", "cmat", "--seeds", "1"], "expected a whole number from 2 to 1000"),
        ],
    );
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "a refused command leaves nothing");
}

#[test]
fn a_small_data_set_gets_a_validation_part_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        run(folder.path(), &["data", "make", "digits", "--out", "digits", "--train", "60", "--test", "20"]).0,
        Some(0)
    );
    let train = ["train", "classifier", "--loss", "baikal", "--data", "digits", "--steps", "2", "--out", "run"];
    let (code, _, err) = run(folder.path(), &train);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("data.validation: there are not ") && err.contains("10 are set apart instead"), "{err}");

    // What a file says is shown, but steers no terminal.
    let names: Vec<String> = (0..10).map(|c| format!("class {c} \u{1b}[31m\u{9b}2J")).collect();
    fs::write(folder.path().join("digits/classes.txt"), names.join("\n")).unwrap();
    let (code, out, _) = run(folder.path(), &["data", "info", "digits"]);
    assert!(code == Some(0) && out.contains("class 0 \\u{1b}[31m\\u{9b}2J, class 1"), "{out}");
    let (_, json, _) = run(folder.path(), &["data", "info", "digits", "--json"]);
    assert!(!json.contains(['\u{1b}', '\u{9b}']));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(value["classes"].as_str().unwrap().starts_with("class 0 \u{1b}[31m\u{9b}2J, "));
    fs::write(folder.path().join("digits/classes.txt"), "\u{1b}[31m\n").unwrap();
    fs::rename(folder.path().join("digits"), folder.path().join("\u{1b}[31m")).unwrap();
    let (code, _, err) = run(folder.path(), &["data", "info", "\u{1b}[31m"]);
    assert!(code == Some(2) && err.contains("\\u{1b}[31m") && !err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn a_comparison_says_what_it_holds_for() {
    let folder = tempfile::tempdir().unwrap();
    let long = "-(x*log(0.5*y + 0.25) + (1 - x)*log(1 - 0.25*y))/n";
    fs::write(folder.path().join("mine.loss"), long).unwrap();
    let compare = [&QUICK[..], &["--losses", "cross-entropy,@mine.loss", "--out", "run"]].concat();
    let (code, out, err) = run(folder.path(), &compare);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("\nmine = -(") && !out.contains("formula 2") && !out.contains("-0.0000"), "{out}");
    assert!(out.contains("At the same rate ") && out.contains("--tune-rate"), "{out}");
    let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("mine = <code>-(") && page.contains("--tune-rate"));
    let (code, out, _) = run(folder.path(), &["report", "run"]);
    assert!(code == Some(0) && out == "run/report.html\n", "{out}");
    // Named the same when it goes on.
    let (code, again, err) = run(folder.path(), &["compare", "classifier", "--resume", "run"]);
    assert!(code == Some(0) && again.contains("\nmine = -("), "{err}");
}

#[test]
fn what_resume_cannot_follow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) =
        run(folder.path(), &[&QUICK[..], &["--losses", "cross-entropy,baikal", "--out", "run"]].concat());
    assert_eq!(code, Some(0), "{err}");
    let resume = |more: &[&'static str]| [&["compare", "classifier", "--resume", "run"], more].concat();
    let cases = [
        (vec!["--steps", "9"], "--steps: the run in run goes on with its own recipe and data"),
        (vec!["--data", "other", "--tune-rate"], "--data, --tune-rate: the run in run goes on"),
        (vec!["--recipe", "full", "--set", "seed=2"], "--recipe, --set: the run in run"),
        (vec!["--seeds", "9"], "--seeds: the run in run"),
    ];
    for (more, said) in &cases {
        refused(folder.path(), &[(&resume(more), said)]);
    }
    refused(
        folder.path(),
        &[
            (
                &["search", "classifier", "--resume", "run"],
                "run: this is a run of `compare classifier`, not of `search classifier`; go on with: lossmith compare classifier --resume run",
            ),
            (&["train", "embedding", "--resume", "run"], "not of `train embedding`"),
            (&["compare", "cmat", "--resume", "run"], "not of `compare cmat`"),
            (&["reproduce", "glo/fig2", "--resume", "run"], "not of `reproduce glo/fig2`"),
            (&["reproduce", "glo/fig2", "--set", "seed=3", "--resume", "run"], "--set: the run in run goes on"),
            (&["report", "run/nothing"], "this is no run folder"),
        ],
    );
    // Another program is at work in it.
    let lock = File::options().append(true).open(folder.path().join("run/.lock")).unwrap();
    lock.lock().unwrap();
    refused(folder.path(), &[(&resume(&[]), "run: another program is at work in this run")]);
    drop(lock);
    let (code, _, err) = run(folder.path(), &resume(&[]));
    assert_eq!(code, Some(0), "{err}");
    // A training has no page; its results are named.
    fs::remove_file(folder.path().join("run/report.json")).unwrap();
    refused(
        folder.path(),
        &[(
            &["report", "run"],
            "this run is finished, and `compare classifier` makes no page; its results are in result.json",
        )],
    );
    fs::remove_file(folder.path().join("run/result.json")).unwrap();
    refused(
        folder.path(),
        &[(
            &["report", "run"],
            "this run is not finished, so there is nothing to report yet; go on with: lossmith compare classifier --resume run",
        )],
    );
    // A run that was killed at its beginning, and one of an earlier version, which does not say what it is of.
    fs::remove_file(folder.path().join("run/run.json")).unwrap();
    refused(folder.path(), &[(&resume(&[]), "run: it has no run.json, so it was killed before it began")]);
    fs::remove_file(folder.path().join("run/identity.json")).unwrap();
    refused(
        folder.path(),
        &[
            (&["search", "classifier", "--resume", "run"], "--resume run: it has no identity.json"),
            (&["report", "run"], "run: an older program began this run, and it has no page"),
        ],
    );
}

#[test]
fn ctrl_c_ends_with_its_own_code_and_a_run_cannot_be_entered_twice() {
    let folder = tempfile::tempdir().unwrap();
    let search =
        ["search", "classifier", "--recipe", "classifier-quick", "--set", "search.generations=5000", "--out", "run"];
    let child = lossmith(folder.path(), &search).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !folder.path().join("run/report.html").is_file() && start.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(20));
    }
    refused(folder.path(), &[(&["search", "classifier", "--resume", "run"], "another program is at work in this run")]);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped on request; go on with: lossmith search classifier --resume run"), "{said}");
}

/// A training whose numbers are none any more says that, not where the first of them stands.
#[test]
fn a_training_that_diverged_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut train = vec!["train", "polarmask"];
    for set in [
        "made.train=8",
        "made.test=2",
        "made.side=64",
        "network.width=64",
        "network.height=64",
        "train.rate=10",
        "train.steps=9",
    ] {
        train.extend(["--set", set]);
    }
    refused(
        folder.path(),
        &[(&train, "input 'rays': the network said inf: the training has diverged; lower its rate")],
    );
}
