//! Any bytes are tensors that survive being written and read again, or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lossmith_data::tensors;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzz");
    if let Ok(read) = tensors::parse(bytes, path) {
        let written = tensors::to_bytes(read.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        // NaN is unequal to itself, so the bytes are compared.
        let again = tensors::parse(&written, path).unwrap();
        assert_eq!(tensors::to_bytes(again.iter().map(|(n, t)| (n.as_str(), t))).unwrap(), written);
    }
});
