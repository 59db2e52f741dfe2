//! Times the clustering of embeddings on a raw file, for `bench/clustering.py`.
//!
//! `time_clustering EMBEDDING.f32 CHANNELS HEIGHT WIDTH REPEATS LABELS.u32` writes the labels and prints milliseconds.

use std::time::Instant;

use lossmith::cluster::{Embeddings, MeanShift, mean_shift};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [embedding, sizes @ .., labels] = arguments.as_slice() else {
        return Err("see the source for the usage".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|s| s.parse()).collect::<Result<_, _>>()?;
    let [channels, height, width, repeats] = sizes[..] else { return Err("four sizes are needed".into()) };
    let bytes = std::fs::read(embedding)?;
    let embedding: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let foreground = vec![true; height * width];
    let mut times = Vec::new();
    let mut found = Vec::new();
    for _ in 0..repeats {
        let start = Instant::now();
        let embeddings = Embeddings::new(&embedding, channels, height, width, &foreground)?;
        found = mean_shift(embeddings, MeanShift::default())?.labels;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::write(labels, found.iter().flat_map(|l| l.to_le_bytes()).collect::<Vec<u8>>())?;
    println!("{times:?}");
    Ok(())
}
