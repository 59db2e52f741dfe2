//! Writes the seeds of every fuzz target and what fuzzing has found: `cargo run --release --example fuzz_corpora -- fuzz`.

#[allow(clippy::unwrap_used)]
#[path = "../../../fuzz/readers.rs"]
mod readers;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let fuzz = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fuzz".to_owned()));
    for target in readers::TARGETS {
        let folder = fuzz.join("corpus").join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (at, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), seed)?;
        }
    }
    Ok(())
}
