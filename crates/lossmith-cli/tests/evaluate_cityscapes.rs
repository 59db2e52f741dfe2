//! Masks of the Cityscapes benchmark: numbers of any width, of the truth's own size, and what is passed over is told.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use lossmith_data::label_images::{Labels, write_labels};
use serde_json::Value;

const WIDTH: usize = 100;
const HEIGHT: usize = 60;

/// A car in a picture of the truth, or a mask with this value where it is.
fn car(value: u32) -> Labels {
    let inside = |at: usize| (10..40).contains(&(at / WIDTH)) && (20..80).contains(&(at % WIDTH));
    Labels { width: WIDTH, height: HEIGHT, ids: (0..WIDTH * HEIGHT).map(|at| u32::from(inside(at)) * value).collect() }
}

/// The AP of the car, and what was said.
fn evaluate(mask: &Labels, line: &str) -> (Option<f64>, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("gt")).unwrap();
    fs::create_dir(at("pred")).unwrap();
    write_labels(&at("gt/ulm_000001_000019_gtFine_instanceIds.png"), &car(26_001)).unwrap();
    write_labels(&at("pred/m.png"), mask).unwrap();
    fs::write(at("pred/ulm_000001_000019.txt"), line).unwrap();
    let path = |name: &str| Path::new(&at(name)).to_str().unwrap().to_owned();
    let mut command = assert_cmd::Command::cargo_bin("lossmith").unwrap();
    let arguments = ["evaluate", "cityscapes", "--truth", &path("gt"), "--predictions", &path("pred"), "--json"];
    let output = command.args(arguments).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (report["classes"]["car"]["ap"].as_f64(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn sixteen_bits_stay_sixteen_bits() {
    for value in [1, 100, 255, 256, 65_535] {
        let (ap, said) = evaluate(&car(value), "m.png 26 0.9\n");
        assert_eq!((ap, said.as_str()), (Some(1.0), ""), "{value}");
    }
}

#[test]
fn masks_of_another_size_are_refused_though_their_pixels_are_as_many() {
    let turned = Labels { width: HEIGHT, height: WIDTH, ids: car(1).ids };
    let cut = Labels { width: 120, height: 50, ids: car(1).ids };
    for (mask, size) in [(turned, "60 x 100"), (cut, "120 x 50")] {
        let (ap, said) = evaluate(&mask, "m.png 26 0.9\n");
        let wanted = format!("m.png: it is {size} pixels, but the image of its true instances 100 x 60");
        assert!(ap.is_none() && said.contains(&wanted) && said.contains("ulm_000001_000019.txt"), "{said}");
    }
}

#[test]
fn what_is_passed_over_is_told() {
    let (ap, said) = evaluate(&car(1), "m.png 13 0.9\n");
    assert!(
        ap == Some(0.0) && said.contains("1 predictions are passed over, as the benchmark does; the first: "),
        "{said}"
    );
    assert!(said.contains("m.png has class 13, which is not scored (26 = car"), "{said}");
    let (ap, said) = evaluate(&car(0), "m.png 26 0.9\n");
    assert!(ap == Some(0.0) && said.contains("m.png has an empty mask"), "{said}");
}
