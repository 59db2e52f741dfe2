//! Any bytes, plain or gzip, are a CIFAR-10 batch or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lossmith_data::cifar;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(images) = cifar::batch(bytes, Path::new("fuzz")) {
        assert_eq!(images.pixels().len(), images.len() * 3072);
        assert!(images.labels().iter().all(|&label| label < 10));
    }
});
