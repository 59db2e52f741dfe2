//! The replay of fuzz targets without a fuzzer: their seeds, what fuzzing has found, and many mutations of both, the same in
//! every run.

use std::path::Path;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// A reader or parser.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Must return, whatever the bytes.
    pub run: fn(&[u8]),
    /// Inputs that are read.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// A line of a table of targets.
pub const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// Runs every target.
pub fn replay(targets: &[Target]) {
    for target in targets {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for input in seeds.into_iter().chain(kept(target.name)) {
            (target.run)(&input);
            (0..MUTATIONS).for_each(|_| (target.run)(&mutated(&input, &mut rng)));
        }
    }
}

/// Mutations of each input.
const MUTATIONS: u64 = 300;

/// What was found once: `fuzz/kept/TARGET/*`.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/kept").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What breaks readers: numbers at the ends of their types, in text and in bytes, cuts, repeats, flipped bits.
fn mutated(input: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    const NUMBERS: [&str; 8] =
        ["4294967295", "-1", "18446744073709551615", "1e308", "0", "-9223372036854775808", "NaN", "null"];
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..16)).min(bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8u32),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            5 => bytes[at..end].fill(if rng.random() { 255 } else { 0 }),
            _ => {
                let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
                drop(bytes.splice(at..at + digits, number.bytes()));
            }
        }
    }
    bytes
}
