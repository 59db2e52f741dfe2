//! Agents on a small hub world from the made data to an explained graph, and what goes wrong on the way.

#![allow(clippy::unwrap_used)]

mod comparison;

use std::fs;
use std::path::Path;

use assert_cmd::Command;

fn lossmith(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("lossmith").unwrap().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

const TINY: [&str; 6] = ["--set", "agents.hidden=8", "--set", "agents.pair=4", "--epochs", "1"];

#[test]
fn make_train_predict_and_explain() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, run) = (path("hubs"), path("run"));
    let (code, _, err) = lossmith(&["data", "make", "hubs", "--out", &data, "--train", "40", "--test", "12"]);
    assert_eq!(code, 0, "{err}");
    let (code, out, _) = lossmith(&["data", "info", &data]);
    assert!(
        code == 0
            && out.contains("40 scenes")
            && out.contains("0.1839 (cross-entropy)")
            && out.contains("(the reward of the graph)"),
        "{out}"
    );

    let train = [&["train", "cmat", "--data", &data, "--out", &run, "--json"], &TINY[..]].concat();
    let (code, out, err) = lossmith(&train);
    assert_eq!(code, 0, "{err}");
    let outcome = json(&out);
    assert!(outcome["stage_2"]["graphs"]["constraint"]["mean"][0].as_f64().is_some(), "{out}");
    assert_eq!(fs::read_to_string(path("run/log.jsonl")).unwrap().lines().count(), 2);
    let (code, _, err) = lossmith(&train);
    assert!(code == 2 && err.contains("not an empty folder"), "{err}");

    // A run that was stopped between its stages ends in the same bytes.
    let model = fs::read(path("run/model.safetensors")).unwrap();
    fs::remove_file(path("run/model.safetensors")).unwrap();
    let (code, again, err) = lossmith(&["train", "cmat", "--resume", &run, "--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(fs::read(path("run/model.safetensors")).unwrap() == model, "resumed agents are others");
    assert_eq!(json(&again), outcome);
    assert_eq!(fs::read_to_string(path("run/log.jsonl")).unwrap().lines().count(), 2);
    let (code, _, err) = lossmith(&["train", "cmat", "--resume", &run, "--seed", "2"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");

    let (test, pictures) = (path("hubs/test.jsonl"), path("pictures"));
    let (code, out, err) =
        lossmith(&["predict", "cmat", "--model", &run, &test, "--top", "5", "--pictures", &pictures]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().count(), 12);
    assert_eq!(json(out.lines().next().unwrap())["relations"].as_array().unwrap().len(), 5);
    assert!(fs::read_to_string(path("pictures/scene-3.svg")).unwrap().starts_with("<svg"));

    let (code, whole, err) = lossmith(&["predict", "cmat", "--model", &run, &data, "--top", "5"]);
    assert!(code == 0 && whole == out, "a folder's test part is its file's scenes: {err}");

    let explain = ["predict", "cmat", "--model", &run, &test, "--scene", "2", "--explain"];
    let (code, out, err) = lossmith(&[&explain[..], &["0"]].concat());
    assert!(code == 0 && out.contains("had it been") && out.contains("is chosen (*)"), "{out}{err}");
    assert_eq!(out.lines().count(), 2 + 14, "{out}");
    let (code, _, err) = lossmith(&[&explain[..], &["99"]].concat());
    assert!(code == 2 && err.contains("test.jsonl, line 2: --explain: expected a node below"), "{err}");
    let (code, _, err) = lossmith(&["predict", "cmat", "--model", &run, &test, "--scene", "13"]);
    assert!(code == 2 && err.contains("there is no such scene"), "{err}");
}

#[test]
fn compare_says_who_is_better_and_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let compare = ["compare", "cmat", "--losses", "cross-entropy,cmat,self-critical", "--seeds", "2", "--json"];
    let new = [&["--set", "data.train=16", "--set", "data.test=6"], &TINY[..]].concat();
    let found = json(&comparison::goes_on(&compare, &new, folder.path()));
    assert_eq!((found["cut"].as_u64(), found["verdict"]["pairs"].as_array().map(Vec::len)), (Some(20), Some(3)));
}

#[test]
fn a_loss_that_diverges_is_an_outcome_of_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let losses = "cmat, counterfactual-critic(surrogate=\"a*exp(exp(-99*l))\")";
    let compare = ["compare", "cmat", "--losses", losses, "--seeds", "2", "--json"];
    let new = [&["--set", "data.train=16", "--set", "data.test=6"], &TINY[..]].concat();
    let found = json(&comparison::goes_on(&compare, &new, folder.path()));
    assert_eq!(found["diverged"], serde_json::json!([0, 2]), "{found}");
}

#[test]
fn annotations_train_and_reproduce() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let image = r#"{"image": "a", "boxes": [[0,0,9,9],[5,5,20,20],[30,0,40,9]], "labels": [0,1,2], "relations": [{"subject":0,"object":1,"predicate":1}]}"#;
    let graphs = format!(
        r#"{{"objects": ["cat", "mat", "sun"], "predicates": ["on", "near"], "images": [{image}, {}]}}"#,
        image.replace("\"a\"", "\"b\"")
    );
    fs::create_dir(path("own")).unwrap();
    for part in ["train", "test"] {
        fs::write(path(&format!("own/{part}-graphs.json")), &graphs).unwrap();
    }
    let own = path("own");
    let out = path("table1");
    let reproduce =
        ["reproduce", "cmat/table1", "--data", &own, "--out", &out, "--set", "seeds=1", "--set", "train.epochs=1"];
    let (code, text, err) = lossmith(&reproduce);
    assert_eq!(code, 0, "{err}");
    assert!(text.contains("35.9 / 39.0 / 39.8") && text.contains("ours, stage 2"), "{text}");
    assert!(Path::new(&path("table1/figure.svg")).is_file());
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (arguments, wanted) in [
        (&["--reward", "recall@0"][..], "expected recall@K with K at least 1"),
        (&["--critic", "exakt"], "expected one of exact, truncated"),
        (&["--loss", "focal"], "expected cross-entropy, degree, node-priority, cmat"),
        (&["--rounds", "0"], "recipe: agents.rounds: expected 1 to 4096, found 0"),
        (&["--set", "data.blocks=0"], "blocks: expected 1 or more"),
        (&["--data", "nowhere"], "nowhere"),
    ] {
        let run = path("run");
        let (code, _, err) = lossmith(&[&["train", "cmat", "--out", &run], arguments].concat());
        assert!(code == 2 && err.contains(wanted), "{arguments:?}: {err}");
        assert!(!Path::new(&run).exists(), "{arguments:?}");
    }

    let data = path("hubs");
    lossmith(&["data", "make", "hubs", "--out", &data, "--train", "2", "--test", "2"]);
    let lines = fs::read_to_string(path("hubs/train.jsonl")).unwrap();
    for (from, to, wanted) in [
        ("\"subject\":", "\"subject\":99", "train.jsonl, line 1"),
        ("\"labels\":[", "\"labels\":[99,", "train.jsonl, line 1"),
        ("\"predicate\":", "\"predicate\":9", "train.jsonl, line 1"),
    ] {
        fs::write(path("hubs/train.jsonl"), lines.replacen(from, to, 1)).unwrap();
        let (code, _, err) = lossmith(&["train", "cmat", "--data", &data, "--out", &path("run")]);
        assert!(code == 2 && err.contains(wanted), "{to}: {err}");
        assert!(!Path::new(&path("run")).exists());
    }
}
