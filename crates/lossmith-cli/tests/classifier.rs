//! The main job as a user meets it: search, kill, resume, compare, export; and what bad input is told.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The program, in a folder of its own.
fn lossmith(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    lossmith(folder, arguments).output().expect("the program starts")
}

fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a refused command says; its exit code must be 2.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: results beside an error");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn quick() -> String {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/classifier-quick.toml");
    recipe.to_str().expect("a plain path").to_owned()
}

fn search(run: &str) -> Vec<String> {
    let recipe = quick();
    ["search", "classifier", "--recipe", &recipe, "--set", "train.steps=60", "--out", run].map(str::to_owned).to_vec()
}

fn read(path: PathBuf) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_search_that_is_killed_again_and_again_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = search("whole");
    stdout(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let arguments = search("killed");
    let mut command = lossmith(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    for pause in [300, 200, 400, 150] {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        let begun = folder.path().join("killed/run.json").exists();
        let again: Vec<&str> = match begun {
            true => vec!["search", "classifier", "--resume", "killed"],
            false => {
                let _ = fs::remove_dir_all(folder.path().join("killed"));
                arguments.iter().map(String::as_str).collect()
            }
        };
        command = lossmith(folder.path(), &again);
    }
    assert!(command.output().unwrap().status.success());
    for file in ["result.json", "found.loss", "recipe.toml"] {
        let (whole, killed) = (folder.path().join("whole").join(file), folder.path().join("killed").join(file));
        assert_eq!(read(whole), read(killed), "{file}");
    }
}

#[test]
fn a_found_loss_can_be_used_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = search("run");
    arguments.push("--json".to_owned());
    let json = stdout(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let result: serde_json::Value = serde_json::from_str(&json).unwrap();
    let comparison = &result["comparison"];
    assert_eq!(comparison["losses"].as_array().unwrap().len(), 4);
    assert_eq!(comparison["pairs"].as_array().unwrap().len(), 6);
    assert!(comparison["verdict"].as_str().unwrap().contains("cross-entropy"));
    assert!(result["evaluations"].as_u64().unwrap() > 0);
    for (language, part) in [("pytorch", "nn.Module"), ("jax", "jax"), ("burn", "burn"), ("latex", "\\log")] {
        let source = stdout(folder.path(), &["export", "run", "--to", language]);
        // A loss without a logarithm may be found.
        assert!(source.contains(part) || language == "latex", "{language}: {source}");
    }
    stdout(folder.path(), &["report", "run"]);
    let page = String::from_utf8(read(folder.path().join("run/report.html"))).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script"));
    let train =
        ["train", "classifier", "--loss", "@run/found.loss", "--recipe", &quick(), "--steps", "20", "--out", "t"];
    run(folder.path(), &train);
    assert!(folder.path().join("t/result.json").exists());
}

#[test]
fn a_comparison_is_the_same_for_one_thread_and_two() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = quick();
    let compare = |threads: &str, run: &str| {
        let arguments =
            ["compare", "classifier", "--losses", "cross-entropy,baikal", "--recipe", &recipe, "--steps", "40"];
        let mut command = lossmith(folder.path(), &arguments);
        let output = command.args(["--out", run, "--json"]).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    assert_eq!(compare("1", "one"), compare("2", "two"));
}

#[test]
fn data_that_were_made_are_recognised_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    stdout(folder.path(), &["data", "make", "digits", "--out", "digits", "--train", "300", "--test", "100"]);
    assert!(stdout(folder.path(), &["data", "info", "digits"]).contains("300 images"));
    let labels = folder.path().join("digits/train-labels-idx1-ubyte.gz");
    let mut bytes = read(labels.clone());
    bytes.truncate(bytes.len() / 2);
    fs::write(&labels, bytes).unwrap();
    let message =
        refusal(folder.path(), &["train", "classifier", "--loss", "baikal", "--data", "digits", "--out", "run"]);
    assert!(message.contains("train-labels-idx1-ubyte.gz"), "{message}");
    assert!(!folder.path().join("run").exists(), "half a run is left behind");
}

#[test]
fn bad_input_is_one_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("taken")).unwrap();
    fs::write(folder.path().join("taken/file"), "x").unwrap();
    for (arguments, part) in [
        (&["train", "classifier", "--loss", "log(q)"][..], "unknown name 'q'"),
        // A formula may begin with a minus, as most do.
        (&["train", "classifier", "--loss", "-x*q"], "unknown name 'q'"),
        (&["compare", "classifier", "--losses", "-x*q,baikal"], "unknown name 'q'"),
        (&["export", "-x*q", "--to", "jax"], "unknown name 'q'"),
        (&["losses", "eval", "-x*q", "--input", "taken/file"], "unknown name 'q'"),
        (&["train", "classifier", "--loss", "bikal"], "did you mean 'baikal'?"),
        (&["train", "classifier", "--loss", "baikal", "--out", "taken"], "--out taken"),
        (&["train", "classifier", "--loss", "baikal", "--steps", "0"], "train.steps"),
        (&["train", "classifier", "--loss", "baikal", "--set", "train.rate=-1"], "train.rate"),
        (&["train", "classifier", "--loss", "baikal", "--precision", "f16"], "[possible values: f32, bf16]"),
        (&["search", "classifier", "--set", "train.precision=f16"], "there is no 'f16'; there is: f32, bf16"),
        (&["train", "classifier", "--loss", "baikal", "--net", "vgg"], "mlp, lenet, alexnet-cifar"),
        (&["train", "classifier", "--loss", "baikal", "--data", "nowhere"], "nowhere"),
        (&["compare", "classifier", "--losses", "baikal"], "--losses"),
        (&["compare", "classifier", "--losses", "baikal,baikal"], "named twice"),
        (&["compare", "classifier", "--losses", "baikal,cross-entropy", "--seeds", "1"], "compare.seeds"),
        (&["search", "classifier", "--set", "search.size=3"], "no key 'search.size'"),
        (&["search", "classifier", "--resume", "nowhere"], "no run folder"),
        (&["reproduce", "glo/fig9"], "glo/fig6"),
        (&["export", "hinge", "--to", "jax"], "no class loss"),
        (&["report", "taken"], "no run folder"),
        (&["losses", "eval", "baikal", "--input", "taken/file"], "taken/file"),
    ] {
        let message = refusal(folder.path(), arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
        assert!(message.starts_with("error: ") || message.contains("\nerror: "), "{message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a refused command left something behind");
}

/// A run may come from somebody else.
#[test]
fn a_foreign_run_neither_opens_files_nor_breaks_what_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "my own words").unwrap();
    let name = "run-\u{202e}oof\u{2066}\u{2028}";
    let run = folder.path().join(name);
    fs::create_dir(&run).unwrap();
    fs::write(run.join("recipe.toml"), "").unwrap();
    fs::write(run.join("found.loss"), format!("@{}\n", secret.display())).unwrap();
    let message = refusal(folder.path(), &["export", name, "--to", "pytorch"]);
    assert!(message.contains("found.loss") && !message.contains("my own words"), "{message}");
    fs::write(run.join("found.loss"), "-x*log(y)\n").unwrap();
    for language in ["pytorch", "jax", "burn", "latex"] {
        let source = stdout(folder.path(), &["export", name, "--to", language]);
        assert!(source.contains("the search in run-"), "{source}");
        assert!(!source.contains(['\u{202e}', '\u{2066}', '\u{2028}']), "{source}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = lossmith(folder.path(), &["losses"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
