//! The switches of a search as a user meets them: savings, cache file, Taylor polynomials, slots of other tasks.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn lossmith(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command.output().unwrap()
}

/// A search of seconds; what it prints with `--json`.
fn search(folder: &Path, run: &str, more: &[&str]) -> Value {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/classifier-quick.toml");
    let mut arguments = vec!["search", "classifier", "--recipe", recipe.to_str().unwrap(), "--out", run, "--json"];
    for set in [
        "data.validation=200",
        "data.digits_train=800",
        "data.digits_test=200",
        "train.steps=40",
        "search.population=30",
        "search.generations=4",
        "search.steps=16",
        "compare.seeds=2",
        "cma_es.generations=1",
    ] {
        arguments.extend(["--set", set]);
    }
    arguments.extend(more);
    let output = lossmith(folder, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const ALL: [&str; 14] = [
    "--set",
    "search.savings.redraws=30",
    "--set",
    "search.savings.equal_gradients=exact",
    "--set",
    "search.savings.raw_predictions=true",
    "--set",
    "search.savings.floor_step=2",
    "--set",
    "search.savings.floor_accuracy=0.12",
    "--set",
    "search.savings.halving_steps=4",
    "--set",
    "search.savings.halving_share=2",
];

/// How many candidates needed no training, or less, for a reason.
fn saved(result: &Value, reason: &str) -> u64 {
    let log = result["log"].as_array().unwrap();
    let kinds = ["spared", "redrawn", "cut_short"];
    log.iter().flat_map(|g| kinds.map(|kind| g[kind][reason].as_u64().unwrap_or(0))).sum()
}

#[test]
fn savings_are_counted_and_a_cache_carries_over() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut first = ALL.to_vec();
    first.extend(["--cache", "known.json"]);
    let first_result = search(folder, "first", &first);
    for reason in ["known", "equal gradients", "raw predictions do not learn", "given up early", "fell behind"] {
        assert!(saved(&first_result, reason) > 0, "{reason}: {}", first_result["log"]);
    }
    let (steps, unsaved) = (first_result["steps"].as_u64().unwrap(), first_result["steps_unsaved"].as_u64().unwrap());
    assert!(4 * steps < unsaved, "{steps} {unsaved}");
    assert!(first_result["rank_correlation"].as_f64().is_some_and(|r| (-1.0..=1.0).contains(&r)));
    let page = fs::read_to_string(folder.join("first/report.html")).unwrap();
    for words in ["equal gradients", "times fewer", "Rank correlation (Spearman)"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("http-equiv=\"refresh\""), "a finished run is not loaded again and again");

    let mut second = ALL.to_vec();
    second.extend(["--cache", "known.json"]);
    let second_result = search(folder, "second", &second);
    assert_eq!((second_result["steps"].as_u64(), &second_result["found"]), (Some(0), &first_result["found"]));
    assert!(saved(&second_result, "known from the cache file") > 0);
    // Under other conditions nothing of it holds.
    second.extend(["--set", "train.batch=50"]);
    assert_eq!(saved(&search(folder, "third", &second), "known from the cache file"), 0);

    fs::write(folder.join("broken.json"), "{").unwrap();
    let output = lossmith(folder, &["search", "classifier", "--cache", "broken.json", "--out", "fourth"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && message.contains("broken.json"), "{message}");
    assert!(!folder.join("fourth").exists(), "a refused command left a run behind");
}

#[test]
fn precisions_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let in_bf16 = ["--cache", "known.json", "--precision", "bf16"];
    let carried = |result: &Value| saved(result, "known from the cache file");
    search(folder, "exact", &["--cache", "known.json"]);
    let begun =
        |run: &str| -> Value { serde_json::from_slice(&fs::read(folder.join(run).join("run.json")).unwrap()).unwrap() };
    let arithmetic = lossmith_nets::Precision::F32.arithmetic();
    assert_eq!(begun("exact")["arithmetic"], arithmetic.as_str());
    assert!(arithmetic.starts_with("f32 by ") && arithmetic.ends_with(')'), "{arithmetic}");
    // It is named to whoever reads the page.
    assert!(fs::read_to_string(folder.join("exact/report.html")).unwrap().contains(&arithmetic));
    // What f32 found out says nothing about bf16, whether or not this processor has it; what bf16 found out does.
    assert_eq!(carried(&search(folder, "rounded", &in_bf16)), 0);
    assert!(carried(&search(folder, "again", &in_bf16)) > 0);
    let recipe = fs::read_to_string(folder.join("rounded/recipe.toml")).unwrap();
    assert!(recipe.contains("precision = \"bf16\""), "{recipe}");

    // A run that began on another kind of processor does not go on here.
    for (run, elsewhere) in [("rounded", "bf16 products by something else"), ("exact", "f32 by AVX2 (00000000)")] {
        let path = folder.join(run).join("identity.json");
        let mut other: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        other["arithmetic"] = elsewhere.into();
        fs::write(path, other.to_string()).unwrap();
        let output = lossmith(folder, &["search", "classifier", "--resume", run]);
        let message = String::from_utf8(output.stderr).unwrap();
        let names_both = message.contains(elsewhere) && message.contains(&arithmetic);
        assert!(output.status.code() == Some(2) && names_both, "{message}");
    }
}

#[test]
fn taylor_polynomials_are_searched_on_the_same_study() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sets = ["--set", "search.genome=taylor", "--set", "taylor.generations=3", "--set", "taylor.invariant=false"];
    let result = search(folder, "taylor", &sets);
    let log = result["log"].as_array().unwrap();
    assert_eq!(log.len(), 3);
    assert!(log.iter().all(|g| g["phase"] == "taylor" && g["candidates"] == 28));
    let export = lossmith(folder, &["export", "taylor", "--to", "pytorch"]);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let invariant = search(folder, "invariant", &["--set", "search.genome=taylor", "--set", "taylor.generations=2"]);
    assert!(saved(&invariant, "the trainability invariant is broken") > 0);
}

#[test]
fn a_slot_of_another_task_is_searched_with_its_metric() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let recipe = "[search]\npopulation = 6\ngenerations = 2\nsteps = 150\nconfirm = 1\n\
        [search.savings]\nhalving_steps = 0\n[cma_es]\ngenerations = 0\n[compare]\nseeds = 2\n\
        [task]\ndata = \"sticks\"\n[task.model]\nside = 32\nsteps = 150\nbatch = 2\nwidths = [8, 8, 8]\n\
        learning_rate = 0.02\nleast_size = 3\n";
    fs::write(folder.join("tiny.toml"), recipe).unwrap();
    let slot = |slot: &'static str, run: &'static str| {
        lossmith(folder, &["search", "embedding", "--slot", slot, "--recipe", "tiny.toml", "--out", run, "--json"])
    };
    let output = slot("pull", "pull");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = result["found"].as_str().unwrap();
    assert!(found.starts_with("discriminative(pull=\"") && found.ends_with("\")"), "{found}");
    assert_eq!(fs::read_to_string(folder.join("pull/found.loss")).unwrap().trim(), found);
    assert_eq!(result["comparison"]["losses"].as_array().unwrap().len(), 2);
    let page = fs::read_to_string(folder.join("pull/report.html")).unwrap();
    assert!(
        page.contains("test SBD") && !page.contains("test accuracy") && !page.contains("summed over the classes"),
        "the page names the task's metric"
    );
    // So few pictures and steps are enough for a search to run; what it finds is nothing.
    let tiny: Vec<&str> = "--set search.population=6 --set search.generations=1 --set search.steps=150 --set search.confirm=1 \
        --set cma_es.generations=0 --set compare.seeds=2 --set task.train.steps=150 --set task.made.train=48 --set task.made.test=8 \
        --set task.made.side=64 --set task.network.width=64 --set task.network.height=64"
        .split_whitespace()
        .collect();
    let rays = ["search", "polarmask", "--slot", "rays", "--out", "rays", "--json"];
    let output = lossmith(folder, &[&rays[..], &tiny].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = result["found"].as_str().unwrap();
    assert!(found.starts_with("polar-iou(kernel=\""), "{found}");
    assert!(fs::read_to_string(folder.join("rays/report.html")).unwrap().contains("test mask AP"));
    let output = lossmith(folder, &["search", "polarmask", "--slot", "arcs", "--out", "arcs"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && message.contains("no slot 'arcs'; it has: rays"), "{message}");
    let output = slot("margin", "margin");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && message.contains("it has: pull, push, regularise"), "{message}");
    assert!(!folder.join("margin").exists());
}

/// Kills a search after a while, goes on with it, and compares with one that ran through.
fn slots_survive_a_kill(slot: [&str; 2], recipe: &str, published: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tiny.toml"), recipe).unwrap();
    let arguments = |run: &'static str| ["search", slot[0], "--slot", slot[1], "--recipe", "tiny.toml", "--out", run];
    let output = lossmith(folder, &arguments("whole"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = fs::read_to_string(folder.join("whole/found.loss")).unwrap();
    assert!(found.starts_with(&format!("{published}({}=\"", slot[1])), "{found}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    let quiet = command.current_dir(folder).args(arguments("killed")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut search = quiet.spawn().unwrap();
    while !folder.join("killed/run.json").exists() && search.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::thread::sleep(std::time::Duration::from_millis(400));
    search.kill().unwrap();
    search.wait().unwrap();
    let output = lossmith(folder, &["search", slot[0], "--resume", "killed"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["found.loss", "result.json"] {
        let bytes = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(bytes("whole") == bytes("killed"), "{file}");
    }
}

const TINY: &str = "[search]\npopulation = 8\ngenerations = 2\nsteps = 4\nconfirm = 1\n\
    [search.savings]\nhalving_steps = 2\n[cma_es]\ngenerations = 1\n[compare]\nseeds = 2\n";

#[test]
fn a_surrogate_is_searched_and_survives_a_kill() {
    let task = "[task.data]\ntrain = 107\ntest = 12\n[task.agents]\nhidden = 16\npair = 8\n\
        [task.train]\nreward = \"recall@50\"\nepochs = 4\npolicy_epochs = 1\nbatch = 4\nrate = 0.02\n";
    slots_survive_a_kill(["cmat", "surrogate"], &format!("{TINY}{task}"), "counterfactual-critic");
}

#[test]
fn a_margin_is_searched_and_survives_a_kill() {
    let task = "[task.data]\ntrain = 40\ntest = 20\n[task.train]\nepochs = 4\nbatch = 8\n";
    slots_survive_a_kill(["reldn", "margin"], &format!("{TINY}{task}"), "graphical-contrastive");
}
