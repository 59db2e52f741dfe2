//! Times the discriminative loss on raw files, for `bench/discriminative.py`.
//!
//! `time_discriminative EMBEDDING.f32 LABELS.i64 CHANNELS HEIGHT WIDTH REPEATS` prints the loss, the gradient's sum of squares,
//! the milliseconds of each repeat, and those of copying the embeddings twice, which moves as many bytes as the loss must.

use std::time::Instant;

use lossmith::loss::Discriminative;
use ndarray::{ArrayView3, ArrayView4};
use rayon::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [embedding, labels, sizes @ ..] = arguments.as_slice() else {
        return Err("see the source for the usage".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|s| s.parse()).collect::<Result<_, _>>()?;
    let [channels, height, width, repeats] = sizes[..] else { return Err("four sizes are needed".into()) };

    let bytes = std::fs::read(embedding)?;
    let embedding: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let bytes = std::fs::read(labels)?;
    let labels: Vec<i64> = bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
    let view = ArrayView4::from_shape((1, channels, height, width), &embedding)?;
    let labels = ArrayView3::from_shape((1, height, width), &labels)?;

    let loss = Discriminative::default();
    let mut times = Vec::new();
    let mut copies = Vec::new();
    let mut result = String::new();
    for _ in 0..repeats {
        let start = Instant::now();
        let found = loss.value_and_gradient(view, labels, None)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let square: f64 = found.grad.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        result = format!("\"value\": {}, \"grad_square\": {square}", found.value);

        let start = Instant::now();
        for _ in 0..2 {
            let mut copy = vec![0f32; embedding.len()];
            copy.par_chunks_mut(1 << 16).zip(embedding.par_chunks(1 << 16)).for_each(|(c, e)| c.copy_from_slice(e));
            std::hint::black_box(copy);
        }
        copies.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("{{{result}, \"ms\": {times:?}, \"copy_ms\": {copies:?}}}");
    Ok(())
}
