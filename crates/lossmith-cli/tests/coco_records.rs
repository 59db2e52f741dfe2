//! COCO files as exporters write them give pycocotools' figures to the last bit, or are refused by record, key and value.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const FIXTURE: &str = include_str!("fixtures/coco_records.json");

fn fixture() -> Value {
    serde_json::from_str(FIXTURE).unwrap()
}

/// What fixtures/coco_records.py calls an edit.
fn edit(node: &mut Value, path: &str, value: &Value) {
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let keys: Vec<String> = match (&*node, first) {
        (Value::Array(list), "*") => (0..list.len()).map(|at| at.to_string()).collect(),
        _ => vec![first.to_owned()],
    };
    for key in keys {
        match (rest, &mut *node) {
            (Some(rest), Value::Array(list)) => edit(&mut list[key.parse::<usize>().unwrap()], rest, value),
            (Some(rest), object) => edit(&mut object[key.as_str()], rest, value),
            (None, Value::Array(list)) if key == "-" => list.push(value.clone()),
            (None, Value::Array(list)) => list[key.parse::<usize>().unwrap()] = value.clone(),
            (None, object) if value == "@remove" => drop(object.as_object_mut().unwrap().remove(&key)),
            (None, object) => object[key.as_str()] = value.clone(),
        }
    }
}

/// The two files of a case, with Python's bare words.
fn files(fixture: &Value, edits: &Value) -> [String; 2] {
    ["truth", "results"].map(|which| {
        let mut document = fixture[which].clone();
        for change in edits.as_array().unwrap().iter().filter(|change| change[0] == which) {
            edit(&mut document, change[1].as_str().unwrap().trim_start_matches('/'), &change[2]);
        }
        ["NaN", "-Infinity", "Infinity"]
            .iter()
            .fold(document.to_string(), |text, word| text.replace(&format!("\"@{word}\""), word))
    })
}

fn command(truth: &Path, results: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lossmith"));
    command.args(["evaluate", "coco", "--truth"]).arg(truth).arg("--predictions").arg(results).args(args);
    command
}

fn evaluate(texts: &[String; 2], args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["gt.json", "dt.json"].map(|name| folder.path().join(name));
    paths.iter().zip(texts).for_each(|(path, text)| std::fs::write(path, text).unwrap());
    command(&paths[0], &paths[1], args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_exporters_write_has_the_figures_of_pycocotools() {
    let fixture = fixture();
    let names: Vec<&str> = fixture["names"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    let mut wrong = Vec::new();
    for case in cases {
        let own: Vec<&str> = case["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        let args = [&["--json", "--iou-type", case["kind"].as_str().unwrap()][..], &own].concat();
        let output = evaluate(&files(&fixture, &case["edits"]), &args);
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let most = own.iter().position(|a| *a == "--max-detections").map_or("100", |at| own[at + 1]);
        for (name, expected) in names.iter().zip(case["figures"].as_array().unwrap()) {
            let name = if *name == "AR100" { format!("AR{most}") } else { (*name).to_owned() };
            if figures[&name] != *expected {
                wrong.push(format!(
                    "{}: {name} {} expected {expected} {}",
                    case["name"],
                    figures[&name],
                    said(&output)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn marks_gzip_and_pipes_are_read() {
    let fixture = fixture();
    let texts = files(&fixture, &json!([]));
    let plain = evaluate(&texts, &["--json"]);
    let marked = evaluate(&texts.clone().map(|text| format!("\u{feff}{text}")), &["--json"]);
    assert_eq!((&marked.stdout, said(&marked)), (&plain.stdout, String::new()));

    let folder = tempfile::tempdir().unwrap();
    let packed = ["gt.json.gz", "dt.gz"].map(|name| folder.path().join(name));
    for (path, text) in packed.iter().zip(&texts) {
        let mut gzip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        std::fs::write(path, gzip.wait_with_output().unwrap().stdout).unwrap();
    }
    assert_eq!(command(&packed[0], &packed[1], &["--json"]).output().unwrap().stdout, plain.stdout);

    // A pipe can be read once only.
    let results = folder.path().join("dt.json");
    std::fs::write(&results, &texts[1]).unwrap();
    let mut piped = command(Path::new("/dev/stdin"), &results, &["--json"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(texts[0].as_bytes()).unwrap();
    assert_eq!(piped.wait_with_output().unwrap().stdout, plain.stdout);
}

#[test]
fn limits_and_choices_are_told() {
    let fixture = fixture();
    let case = |name: &str| {
        let case = fixture["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
        files(&fixture, &case["edits"])
    };
    let told = |name: &str, args: &[&str]| said(&evaluate(&case(name), args));
    assert_eq!(told("base", &[]), "");
    let cut = told("many detections", &[]);
    assert!(
        cut.contains("in 1 pairs of an image and a category there are more than 100 detections (up to 12"),
        "{cut}"
    );
    assert!(cut.contains("--max-detections takes more"), "{cut}");
    assert_eq!(told("many detections", &["--max-detections", "150"]), "");
    let refused = evaluate(&case("base"), &["--max-detections", "9"]);
    assert!(refused.status.code() == Some(2) && said(&refused).contains("from 10 to 1000000"));
    let zero = told("an annotation id of 0", &[]);
    assert!(zero.contains("an object has the id 0, which pycocotools takes for 'no match'"), "{zero}");
    assert!(zero.contains("--id-zero-unmatched"), "{zero}");
    // An object like any other, unless it is wanted otherwise.
    let figures = |name: &str| evaluate(&case(name), &["--json"]).stdout;
    assert_eq!(figures("an annotation id of 0"), figures("base"));
    let unknown = told("an unknown category in a result", &[]);
    assert!(
        unknown.contains("1 detections are of 1 categories that the truth does not have (such as 99)"),
        "{unknown}"
    );
}

#[test]
fn a_bad_record_names_itself_or_is_left_out_and_counted() {
    let fixture = fixture();
    for (edits, wanted) in [
        (
            json!([["truth", "/annotations/2/image_id", 5]]),
            "gt.json, annotation 2 (id 3): its image_id 5 is not among the 2 images",
        ),
        (
            json!([["truth", "/annotations/2/category_id", "@remove"]]),
            "gt.json, annotation 2 (id 3): it has no 'category_id'",
        ),
        (
            json!([["truth", "/annotations/2/segmentation", []]]),
            "annotation 2 (id 3): it has no 'segmentation'; expected masks, or --iou-type bbox",
        ),
        (
            json!([["truth", "/annotations/2/segmentation", [10, 20, 30, 40, 50, 60]]]),
            "its segmentation is one list of numbers",
        ),
        (json!([["results", "/2/image_id", 5]]), "dt.json, result 2: its image_id 5 is not among the 2 images"),
        (json!([["results", "/2/score", "0.9"]]), "dt.json, result 2: its score is \"0.9\": expected a number"),
        (json!([["results", "/2/score", "@NaN"]]), "dt.json, result 2: its score is NaN: expected a number"),
        (
            json!([["results", "/2/segmentation/size", [120, 90]]]),
            "dt.json, result 2: its mask is 120 x 90, but the image is 90 x 120",
        ),
        (json!([["results", "/2/segmentation/counts", "b'52'"]]), "written by Python's str(); expected .decode()"),
    ] {
        let texts = files(&fixture, &edits);
        let output = evaluate(&texts, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(wanted), "{}", said(&output));
        let skipped = evaluate(&texts, &["--skip-bad", "--json"]);
        assert!(skipped.status.success(), "{}", said(&skipped));
        assert!(said(&skipped).contains("1 records are wrong and left out; the first: "), "{}", said(&skipped));
        assert!(said(&skipped).contains(wanted), "{}", said(&skipped));
        let figures: Value = serde_json::from_slice(&skipped.stdout).unwrap();
        assert_eq!(figures["skipped_records"], 1);
        // What is left are the figures of the files without the record.
        let which = edits[0][0].as_str().unwrap();
        let mut without = fixture.clone();
        let list = if which == "truth" { &mut without["truth"]["annotations"] } else { &mut without["results"] };
        list.as_array_mut().unwrap().remove(2);
        let expected: Value =
            serde_json::from_slice(&evaluate(&files(&without, &json!([])), &["--json"]).stdout).unwrap();
        for name in ["AP", "APs", "AR10"] {
            assert_eq!(figures[name], expected[name], "{name}");
        }
    }
}
