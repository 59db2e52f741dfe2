//! Times value and gradient of Polar IoU on 100,000 x 36 rays; `bench/polar_iou.py` sets PyTorch beside it.

use std::time::Instant;

use lossmith::loss::PolarIou;
use ndarray::{Array1, Array2};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(21), |n| n.parse())?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut rays = || Array2::from_shape_fn((100_000, 36), |_| rng.random_range(1.0f32..100.0));
    let (prediction, target) = (rays(), rays());
    let weight = Array1::from_elem(100_000, 0.5f32);
    let loss = PolarIou::new();
    let mut times = Vec::new();
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        let result = loss.evaluate_rays(prediction.view(), target.view(), Some(weight.view()))?;
        times.push(start.elapsed().as_secs_f64());
        std::hint::black_box(result);
    }
    times.sort_by(f64::total_cmp);
    println!("{}", times[times.len() / 2]);
    Ok(())
}
