//! Emitted Burn modules compile and say what we compute: each file of `emitted/` is a module here, tests included.
//!
//! `LOSSMITH_BLESS=1 cargo test -p lossmith-burn --test emitted` writes the files anew after the emitter has changed.

#![allow(clippy::unwrap_used)]

use lossmith::expr::emit::Language;
use lossmith::loss::{ClassLoss, Spec};

#[allow(clippy::all, clippy::redundant_clone, unused_parens)] // written by a program
mod baikal {
    include!("emitted/baikal.rs");
}

#[allow(clippy::all, clippy::redundant_clone, unused_parens)] // written by a program
mod label_smoothing {
    include!("emitted/label_smoothing.rs");
}

/// Uses the functions, guards and kinds of operand that the others do not.
#[allow(clippy::all, clippy::redundant_clone, unused_parens)] // written by a program
mod every_function {
    include!("emitted/every_function.rs");
}

const FILES: &[(&str, &str, &str)] = &[
    ("baikal", "baikal", include_str!("emitted/baikal.rs")),
    ("label_smoothing", "label-smoothing", include_str!("emitted/label_smoothing.rs")),
    (
        "every_function",
        "tanh(x - y)*abs(y - 0.2) + exp(-y)/sqrt(y + n) - max(2 - n*y, 1)^2 + 1/(x + 1) - log(1 - y*(1 - x))/(x - 0.5) \
         + min(x, y^1.5) - 2^-y*square(y) + y^(x + 0.5) - log(n)",
        include_str!("emitted/every_function.rs"),
    ),
];

#[test]
fn files_are_what_the_emitter_writes() {
    for (file, loss, text) in FILES {
        let class = ClassLoss::from_spec(&Spec::parse(loss).unwrap()).unwrap();
        let source = class.source(Language::Burn, file, "the tests of lossmith-burn");
        if std::env::var_os("LOSSMITH_BLESS").is_some() {
            let path = format!("{}/tests/emitted/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, &source).unwrap();
            continue;
        }
        assert_eq!(*text, source, "{file} is out of date: run this test with LOSSMITH_BLESS=1");
    }
}
