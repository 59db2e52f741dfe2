//! Times the instance metrics on raw label images, for `bench/instances.py`.
//!
//! `time_instances TRUTH.u32 PREDICTION.u32 PIXELS REPEATS` reads images of PIXELS pixels one after the other, prints the mean SBD,
//! AJI and AP, and the milliseconds of each repeat over all images.

use std::time::Instant;

use lossmith::metric::instances::{Mode, Overlaps, Scores, Summary};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [truth, prediction, pixels, repeats] = arguments.as_slice() else {
        return Err("see the source for the usage".into());
    };
    let (pixels, repeats): (usize, usize) = (pixels.parse()?, repeats.parse()?);
    let read = |path: &str| -> std::io::Result<Vec<u32>> {
        Ok(std::fs::read(path)?.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    };
    let (truth, prediction) = (read(truth)?, read(prediction)?);
    let mut times = Vec::new();
    let mut summary = None;
    for _ in 0..repeats {
        let start = Instant::now();
        let scores = truth
            .chunks_exact(pixels)
            .zip(prediction.chunks_exact(pixels))
            .map(|(t, p)| Ok(Overlaps::between(t, p)?.scores(Mode::Corrected)))
            .collect::<Result<Vec<Scores>, Box<dyn std::error::Error>>>()?;
        summary = Summary::of(&scores);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mean = summary.ok_or("no image")?.mean;
    println!("{{\"sbd\": {}, \"aji\": {}, \"ap_dsb\": {}, \"ms\": {times:?}}}", mean.sbd, mean.aji, mean.ap_dsb);
    Ok(())
}
