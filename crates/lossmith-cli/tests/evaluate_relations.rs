//! One small file of predictions under all three protocols, and the inputs that are refused.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::{Value, json};

struct Files {
    _folder: tempfile::TempDir,
    truth: PathBuf,
    train: PathBuf,
    predictions: PathBuf,
}

/// Two images. The first: a person holds one of two cups and is near a table; the second has no relations.
fn truth() -> Value {
    json!({"objects": ["person", "cup", "table"], "predicates": ["holds", "near"], "images": [
        {"image": "a", "size": [200, 100], "boxes": [[0, 0, 39, 79], [30, 30, 44, 44], [60, 30, 74, 44], [80, 40, 180, 90]],
         "labels": [0, 1, 1, 2], "relations": [{"subject": 0, "object": 1, "predicate": 1}, {"subject": 0, "object": 3, "predicate": 2}]},
        {"image": "b", "size": [200, 100], "boxes": [[0, 0, 39, 79], [30, 30, 44, 44]], "labels": [0, 1], "relations": []}]})
}

/// The wrong cup is held with more certainty than the right one; the table is near.
fn predictions() -> Vec<Value> {
    vec![
        json!({"image": "a", "pairs": [[0, 1], [0, 2], [0, 3]], "predicates": [[0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]]}),
        json!({"image": "b", "pairs": [[0, 1]], "predicates": [[0.1, 0.9, 0.0]]}),
    ]
}

impl Files {
    fn new(truth: &Value, predictions: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let lines = predictions.iter().map(|p| format!("{p}\n")).collect();
        // Trained on: a person holds a cup; that one is near a table is new.
        let mut seen = self::truth();
        seen["images"][0]["relations"].as_array_mut().unwrap().truncate(1);
        Self {
            truth: put("truth.json", truth.to_string()),
            train: put("train.json", seen.to_string()),
            predictions: put("found.jsonl", lines),
            _folder: folder,
        }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::cargo_bin("lossmith")
            .unwrap()
            .arg("evaluate")
            .args(arguments)
            .arg("--truth")
            .arg(&self.truth)
            .arg("--predictions")
            .arg(&self.predictions)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }
}

fn near(found: &Value, wanted: f64) -> bool {
    (found.as_f64().unwrap() - wanted).abs() < 1e-9
}

#[test]
fn one_file_under_three_protocols() {
    let files = Files::new(&truth(), &predictions());
    let train = files.train.to_str().unwrap();

    // VRD, predicates of annotated pairs: both are right.
    let all = |report: &Value| report["groups"]["all"].clone();
    let vrd = all(&files.json(&["vrd", "--task", "predicate"]));
    assert_eq!((&vrd["hits"], &vrd["rows"]), (&json!([2, 2, 2]), &json!(2)));
    let zero_shot = all(&files.json(&["vrd", "--task", "predicate", "--zero-shot", "--train", train]));
    assert_eq!((&zero_shot["hits"], &zero_shot["rows"]), (&json!([1, 1, 1]), &json!(1)));
    for matcher in ["one-to-one", "vrd-dsr", "cover"] {
        let report = all(&files.json(&["vrd", "--task", "relationship", "--k", "free", "--matcher", matcher]));
        assert_eq!((&report["hits"], &report["matcher"]), (&json!([2, 2, 2]), &json!(matcher)));
    }
    assert_eq!(all(&files.json(&["vrd", "--task", "phrase", "--k", "2"]))["hits"], json!([2, 2, 2]));

    // Visual Genome: image b has no relations and does not count.
    let graphs = all(&files.json(&["visual-genome", "--train", train]));
    assert_eq!((&graphs["images"], &graphs["images_without_relations"]), (&json!(1), &json!(1)));
    assert_eq!(graphs["constraint"]["mean"], json!([1.0, 1.0, 1.0]));
    assert_eq!(graphs["constraint"]["zero_shot"], json!([1.0, 1.0, 1.0]));
    assert_eq!(graphs["annotated_pairs"], json!([1.0, 1.0, 1.0]));

    // RelDN's evaluator: of two cups that are held the wrong one comes first, and so does one in the image without relations.
    let reldn = all(&files.json(&["openimages-vrd", "--tool", "reldn"]));
    assert_eq!(reldn["recall"][0], json!(0.0));
    // That tool adds 1e-12 to what it divides by.
    assert!(near(&reldn["recall"][4], 1.0), "{reldn}");
    assert!(near(&reldn["ap_relation"][0], 1.0 / 3.0), "{reldn}");
    let challenge = all(&files.json(&["openimages-vrd"]));
    assert_eq!(challenge["relation"]["recall"], json!([1.0, 1.0]));

    // In words, too, with the protocol's name.
    for (protocol, wanted) in [
        ("vrd", "VRD protocol"),
        ("visual-genome", "Visual Genome protocol of Neural Motifs"),
        ("openimages-vrd", "Open Images challenge tool"),
    ] {
        let (code, out, err) = files.run(&[protocol, "--explain"]);
        assert!(code == 0 && out.contains(wanted), "{out}{err}");
    }
}

#[test]
fn groups_have_figures_of_their_own() {
    let files = Files::new(&truth(), &predictions());
    let groups = files.truth.with_file_name("groups.json");
    fs::write(&groups, r#"{"hands": ["holds"], "places": ["near"]}"#).unwrap();
    let groups = groups.to_str().unwrap();
    let graphs = files.json(&["visual-genome", "--predicate-groups", groups])["groups"].clone();
    for group in ["hands", "places"] {
        assert_eq!(graphs[group]["relations"], json!(1));
        // The mean over the predicates of the group, not over all.
        assert_eq!(graphs[group]["constraint"]["mean_recall"], json!([1.0, 1.0, 1.0]));
    }
    let reldn = files.json(&["openimages-vrd", "--tool", "reldn", "--predicate-groups", groups])["groups"].clone();
    assert!(near(&reldn["places"]["map_relation"], 1.0), "{reldn}");
    assert_eq!(files.json(&["vrd", "--predicate-groups", groups])["groups"]["hands"]["rows"], json!(1));
    assert_eq!(files.json(&["openimages-vrd", "--predicate-groups", groups])["groups"]["hands"]["triplets"], json!(1));
}

/// What is done to a truth and its predictions to make them wrong.
type Fault = fn(&mut Value, &mut Vec<Value>);

#[test]
fn what_is_wrong_is_named() {
    let cases: [(&str, Fault); 14] = [
        ("image a: box 1 is [44.0, 30.0, 30.0, 44.0]", |t, _| t["images"][0]["boxes"][1] = json!([44, 30, 30, 44])),
        ("image a: box 2 is [300.0, 30.0, 310.0, 44.0], outside of the image", |t, _| {
            t["images"][0]["boxes"][2] = json!([300, 30, 310, 44]);
        }),
        ("image a: label 1 is 7, but there are 3 classes", |t, _| t["images"][0]["labels"][1] = json!(7)),
        ("image a: relation 0: predicate 3 is not in 1..=2", |t, _| {
            t["images"][0]["relations"][0]["predicate"] = json!(3);
        }),
        ("image a: relation 0: there is no box 9", |t, _| t["images"][0]["relations"][0]["object"] = json!(9)),
        ("relation 0: subject and object are the same box", |t, _| t["images"][0]["relations"][0]["object"] = json!(0)),
        ("image a: it is there twice", |t, _| t["images"][1]["image"] = json!("a")),
        ("line 1: no prediction", |_, p| p[0]["predicates"][1][0] = json!("NaN")),
        ("line 2: image b: rows of 2 predicate scores, expected 3", |_, p| p[1]["predicates"] = json!([[0.5, 0.5]])),
        ("line 1: no prediction: unknown field `boxs`, expected one of `image`, `boxes`", |_, p| {
            p[0]["boxs"] = json!([]);
        }),
        ("line 1: image a: pair 2: there is no box 8", |_, p| p[0]["pairs"][2] = json!([0, 8])),
        ("line 1: image a: label 0 is 5, but there are 3 classes", |_, p| p[0]["labels"] = json!([5, 1, 1, 2])),
        ("line 2: image c is not in the truth", |_, p| p[1]["image"] = json!("c")),
        ("line 2: image a is there already, in line 1", |_, p| p[1] = p[0].clone()),
    ];
    for (wanted, spoil) in cases {
        let (mut truth, mut predictions) = (truth(), predictions());
        spoil(&mut truth, &mut predictions);
        let files = Files::new(&truth, &predictions);
        let (code, out, err) = files.run(&["visual-genome"]);
        let file = if wanted.starts_with("line") { "found.jsonl" } else { "truth.json" };
        assert!(code == 2 && out.is_empty() && err.contains(wanted) && err.contains(file), "{wanted}: {err}");
    }
    // The boxes of a prediction, where they are not given.
    let mut found = predictions();
    found[0]["boxes"] = json!([[0, 0, 39, 79], [30, 30, 44, 44], [60, 30, 74, 44], [280, 40, 290, 90]]);
    let (code, _, err) = Files::new(&truth(), &found).run(&["visual-genome", "--mode", "sgdet"]);
    assert!(code == 2 && err.contains("line 1: image a: box 3 is [280.0, 40.0, 290.0, 90.0], outside"), "{err}");
    let mut own = predictions();
    own[0]["pairs"][2] = json!([0, 0]);
    let (code, _, err) = Files::new(&truth(), &own).run(&["visual-genome"]);
    assert!(code == 2 && err.contains("pair 2: subject and object are the same box 0"), "{err}");
}

/// Scores are ranked: they need be no probabilities.
#[test]
fn scores_are_taken_as_scores() {
    let figures =
        |found: &[Value], arguments: &[&str]| Files::new(&truth(), found).json(arguments)["groups"]["all"].clone();
    let plain = figures(&predictions(), &["visual-genome"]);
    // Any rising function of them ranks as they do.
    let changed = |change: fn(f64) -> f64| {
        let mut found = predictions();
        for row in found.iter_mut().flat_map(|p| p["predicates"].as_array_mut().unwrap()) {
            row.as_array_mut().unwrap().iter_mut().for_each(|v| *v = json!(change(v.as_f64().unwrap())));
        }
        found
    };
    for change in [|p: f64| p / (1.0 + p), |p: f64| 20.0 * p, |p: f64| (p / (1.01 - p) + 1e-9).ln()] {
        assert_eq!(figures(&changed(change), &["visual-genome"]), plain);
    }
    // A pair twice: the better row counts.
    let mut twice = predictions();
    twice[0]["pairs"].as_array_mut().unwrap().push(json!([0, 1]));
    twice[0]["predicates"].as_array_mut().unwrap().push(json!([0.9, 0.0, 0.1]));
    assert_eq!(figures(&twice, &["visual-genome"])["constraint"], plain["constraint"]);
    assert_eq!(figures(&twice, &["vrd"])["hits"], json!([2, 2, 2]));
    let (code, _, err) = Files::new(&truth(), &twice).run(&["vrd", "--task", "predicate"]);
    assert!(
        code == 2 && err.contains("pair 3: [0, 1] is there twice, expected one row of scores for each pair"),
        "{err}"
    );
    // Two labels on a box, which are predicted: with either the pairs of both count.
    let mut labels = predictions();
    labels[0]["boxes"] = json!([[0, 0, 39, 79], [30, 30, 44, 44], [30, 30, 44, 44], [80, 40, 180, 90]]);
    labels[0]["labels"] = json!([0, 2, 1, 2]);
    let sgcls = figures(&labels, &["visual-genome", "--mode", "sgcls"]);
    assert_eq!((&sgcls["constraint"]["hits"], &sgcls["annotated_pairs"]), (&json!([2, 2, 2]), &json!([1.0, 1.0, 1.0])));
    let (code, _, err) = Files::new(&truth(), &labels).run(&["visual-genome"]);
    assert!(code == 2 && err.contains("line 1: image a: label 1 is 2, but labels are given and it is 1"), "{err}");
}

#[test]
fn a_list_is_as_good_as_lines_and_wrong_ones_may_be_left_out() {
    let files = Files::new(&truth(), &predictions());
    let lines = files.json(&["visual-genome"]);
    fs::write(&files.predictions, format!("\u{feff}{}", Value::from(predictions()))).unwrap();
    assert_eq!(files.json(&["visual-genome"]), lines);
    fs::write(&files.truth, format!("\u{feff}{}", truth())).unwrap();
    assert_eq!(files.json(&["visual-genome"]), lines);

    let mut wrong = predictions();
    wrong.extend([json!({"image": "c", "pairs": [], "predicates": []}), json!({"image": "b"}), wrong[0].clone()]);
    fs::write(&files.predictions, Value::from(wrong).to_string()).unwrap();
    let (code, _, err) = files.run(&["visual-genome"]);
    assert!(code == 2 && err.contains("found.jsonl, entry 2: image c is not in the truth"), "{err}");
    let (code, out, err) = files.run(&["visual-genome", "--json", "--skip-bad"]);
    assert!(code == 0 && err.contains("3 predictions are wrong and left out; the first: "), "{err}");
    assert!(err.contains("entry 2: image c is not in the truth"), "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), lines);
}

#[test]
fn the_help_shows_the_form_of_predictions() {
    for protocol in ["visual-genome", "vrd", "openimages-vrd"] {
        let output = Command::cargo_bin("lossmith").unwrap().args(["evaluate", protocol, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        // The example is one: five lines, put together.
        let at = help.find("{\"image\"").unwrap();
        let line: Value = serde_json::from_str(&help[at..].lines().take(5).collect::<String>()).unwrap();
        let mut truth = truth();
        truth["images"][0]["image"] = json!("a.jpg");
        let files = Files::new(&truth, &[line]);
        let (code, _, err) = files.run(&["visual-genome", "--mode", "sgdet"]);
        assert!(code == 0, "{err}");
        assert!(help.contains("from 1 in VG-SGG.h5") && help.contains("Predicates count from 1 everywhere"), "{help}");
    }
}

#[test]
fn unknown_names_of_open_images_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, rows: &[&str], more: &str| {
        let head = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel";
        let path = folder.path().join(name);
        fs::write(&path, format!("{head}{more}\n{}\n", rows.join("\n"))).unwrap();
        path
    };
    const AT: &str = "0.1,0.5,0.2,0.6,0.3,0.4,0.3,0.5";
    let truth = put("truth.csv", &[&format!("a,/m/1,/m/2,{AT},holds")], "");
    let run = |row: &str, arguments: &[&str]| {
        let found = put("found.csv", &[&format!("a,/m/1,/m/2,{AT},holds,0.9"), row], ",Score");
        let mut command = Command::cargo_bin("lossmith").unwrap();
        command.args(["evaluate", "openimages-vrd", "--json", "--truth"]).arg(&truth).arg("--predictions").arg(found);
        let output = command.args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (row, wanted) in [
        (format!("b,/m/1,/m/2,{AT},holds,0.5"), "line 3: image 'b' is none of the truth's: it has a"),
        (format!("a,Person,/m/2,{AT},holds,0.5"), "line 3: class 'Person' is none of the truth's: it has /m/1, /m/2"),
        (format!("a,/m/1,/m/2,{AT},Holds,0.5"), "line 3: predicate 'Holds' is none of the truth's: it has holds"),
    ] {
        let (code, err) = run(&row, &[]);
        assert!(code == 2 && err.contains(wanted) && err.contains("found.csv"), "{err}");
        let (code, err) = run(&row, &["--skip-bad"]);
        assert!(code == 0 && err.contains("1 rows are wrong or name what the truth does not have"), "{err}");
        assert!(err.contains(wanted), "{err}");
    }
}
