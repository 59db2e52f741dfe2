//! Emitted code says what we compute: the Python files are run where their framework is installed.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use lossmith::expr::emit::Language;
use lossmith::loss::{ClassLoss, Spec};

/// Losses that between them use every function, every guard and every way of writing a number.
const LOSSES: &[&str] = &[
    "cross-entropy",
    "baikal",
    "baikal-cma",
    "poly-loss(epsilon=-0.5)",
    "label-smoothing(epsilon=0.2)",
    "-(log(y) - x/y)",
    "max(x - y, -0.25)^2 - min(n*y, 1)",
    "tanh(x - y)*abs(y - 0.2) + exp(-y)/sqrt(y + n)",
    "-log(1 - y*(1 - x)) + 1e-7/(x + 1)",
    "x/(x - 0.5) + log(2)*y^1.5 - 2^-y",
    "square(x - y)*(-3) - (x - (y - 1))",
    "y^(x + 0.5) + min(y, x) - max(log(n), n/3)",
    "3",
    "x - n",
    "log(x)",
    "-x*(1 - y)^0.5*log(y)",
    "sqrt((x - y)^2) + max(y - 0.5, 0)^0.5",
];

fn source(loss: &str, language: Language) -> String {
    let class = ClassLoss::from_spec(&Spec::parse(loss).unwrap()).unwrap();
    let name = if loss.contains(|c| "+*/".contains(c)) || loss == "3" { "found" } else { loss };
    class.source(language, name, "a test of lossmith, seed 1\nsecond line \"\"\" */")
}

#[test]
fn snapshots() {
    for (language, name) in Language::ALL {
        insta::assert_snapshot!(format!("{name}-baikal"), source("baikal", language));
        insta::assert_snapshot!(format!("{name}-found"), source("max(x - y, -0.25)^2 - log(1 - x*y)/n", language));
    }
}

/// Writes every emitted file and runs a script on them in one Python, or says why not.
fn run_python(language: Language, import: &str, losses: &[&str], script: &[&str]) {
    let python = std::env::var("LOSSMITH_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", &format!("import {import}")]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("LOSSMITH_TEST_REQUIRE").is_none(), "{python} cannot import {import}");
        eprintln!("skipped: {python} cannot import {import}; set LOSSMITH_TEST_PYTHON to one that can");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = losses.iter().enumerate().map(|(at, loss)| {
        let file = folder.path().join(format!("{at}.py"));
        std::fs::write(&file, source(loss, language)).unwrap();
        file
    });
    let output = Command::new(&python).args(script).arg(import).args(files).output().unwrap();
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or("").to_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{language:?}, {last} of {losses:?}:\n{error}");
    assert_eq!(last, format!("{} files", losses.len()));
}

const RUN_TESTS: &str = "import runpy, sys\nfor file in sys.argv[2:]:\n    print(file, flush=True)\n    \
                         runpy.run_path(file)['test']()\nprint(len(sys.argv) - 2, 'files')";

#[test]
fn pytorch_code_gives_our_value_and_gradient() {
    run_python(Language::Pytorch, "torch", LOSSES, &["-c", RUN_TESTS]);
}

#[test]
fn jax_code_gives_our_value_and_gradient() {
    run_python(Language::Jax, "jax", LOSSES, &["-c", RUN_TESTS]);
}

/// Dense logits, half precision, wrong shapes and labels, wide gaps, one class, transformations.
const USED_IN_ANY_WAY: &[&str] =
    &["cross-entropy", "baikal", "-x*log(y) - (1 - x)*log(1 - y)", "x*(1 - y)^2*exp(y)/n", "x/sqrt(y) + y^(-0.9)"];
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/emitted.py");

#[test]
fn pytorch_code_takes_what_pytorch_users_have() {
    run_python(Language::Pytorch, "torch", USED_IN_ANY_WAY, &[SCRIPT]);
}

#[test]
fn jax_code_takes_what_jax_users_have() {
    run_python(Language::Jax, "jax", USED_IN_ANY_WAY, &[SCRIPT]);
}
