//! Names the build by its sources, so that two programs of one version that may compute different things are told apart:
//! `LOSSMITH_BUILD` is the version and a checksum of all crates' sources.

use std::path::{Path, PathBuf};

const CRATES: [&str; 6] =
    ["lossmith", "lossmith-burn", "lossmith-cli", "lossmith-data", "lossmith-nets", "lossmith-search"];

fn main() -> std::io::Result<()> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut sum = Fnv(0xcbf2_9ce4_8422_2325);
    for name in CRATES {
        // A package from a registry stands alone; then the versions of the others are fixed by the lock file.
        let sources = here.join("..").join(name).join("src");
        if sources.is_dir() {
            println!("cargo:rerun-if-changed={}", sources.display());
            add_folder(&sources, &mut sum)?;
        }
    }
    println!(
        "cargo:rustc-env=LOSSMITH_BUILD={}+{:016x}",
        std::env::var("CARGO_PKG_VERSION").unwrap_or_default(),
        sum.0
    );
    Ok(())
}

/// Names and contents, in the order of the names.
fn add_folder(folder: &Path, sum: &mut Fnv) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        sum.add(entry.file_name().unwrap_or_default().as_encoded_bytes());
        if entry.is_dir() {
            add_folder(&entry, sum)?;
        } else {
            sum.add(&std::fs::read(&entry)?);
        }
    }
    Ok(())
}

/// The 64-bit checksum of Fowler, Noll and Vo, 1a.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        // The length keeps a name's end apart from what follows.
        for byte in bytes.iter().chain(&bytes.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
