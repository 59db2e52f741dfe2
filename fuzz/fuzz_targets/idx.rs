//! Any bytes, plain or gzip, are IDX images, IDX labels, or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lossmith_data::idx;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzz");
    if let Ok((shape, pixels)) = idx::images(bytes, path) {
        assert!(!pixels.is_empty() && pixels.len() % shape.len() == 0);
    }
    if let Ok(labels) = idx::labels(bytes, path, 10) {
        assert!(!labels.is_empty() && labels.iter().all(|&label| label < 10));
    }
});
