//! What a user writes to the program - recipes, settings, addresses of studies, limits - as `fuzz/readers.rs` has the files of data.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use lossmith_data::limits::Limits;
use replay::{Target, target};
use toml::Table;

use crate::recipe;
use crate::study::Address;

const BASE: &str = include_str!("../../../recipes/polarmask-laptop.toml");

const TARGETS: &[Target] = &[
    target("recipe", recipe, || vec![BASE.into(), b"[train]\nepochs = 3\n".to_vec()]),
    target("setting", setting, || vec![b"train.epochs=3".to_vec(), b"made.train=[1, {a = \"x\"}]".to_vec()]),
    target("address", address, || {
        let full = "postgres://user:pa%20ss@host:5432/base?sslmode=disable&connect_timeout=3#study";
        vec![full.into(), b"postgresql:///base?host=/run/postgresql".to_vec()]
    }),
    target("limits", limits, || vec![b"bytes=8GiB, pixels=300".to_vec()]),
];

fn recipe(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let _ = recipe::load_over::<Table>(BASE, Some(file.path()), &[]);
}

fn setting(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let _ = recipe::load_over::<Table>(BASE, None, &[text]);
}

fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<Address>().map(|address| address.to_string());
}

fn limits(bytes: &[u8]) {
    if let Ok(limits) = String::from_utf8_lossy(bytes).parse::<Limits>() {
        assert!(limits.bytes > 0 && limits.pixels > 0);
    }
}

#[test]
fn every_text_is_read_or_refused_in_words() {
    replay::replay(TARGETS);
}
