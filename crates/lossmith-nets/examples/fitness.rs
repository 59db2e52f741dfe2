//! Trains candidates on random images and prints samples per second, by the clock and per second of processor time;
//! `bench/fitness.py` runs it beside PyTorch.
//!
//!     fitness NET BATCH STEPS CANDIDATES HEIGHT CHANNELS f32|bf16

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use lossmith::loss::{ClassLoss, Spec};
use lossmith_nets::{Candidate, Control, Data, Dataset, Event, Recipe, Shape, preset, train};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [net, rest @ .., precision] = arguments.as_slice() else { return Err("which network?".into()) };
    let precision = precision.parse()?;
    let numbers: Vec<usize> = rest.iter().map(|a| a.parse()).collect::<Result<_, _>>()?;
    let &[batch, steps, candidates, side, channels] = numbers.as_slice() else { return Err("five numbers".into()) };

    let shape = Shape { height: side, width: side, channels };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let pixels: Vec<u8> = (0..5_000 * shape.values()).map(|_| rng.random()).collect();
    let labels: Vec<u8> = (0..5_000).map(|_| rng.random_range(0..10)).collect();
    let normal = vec![(0.5, 0.3); channels];
    let images = Dataset::new(shape, 10, &pixels, &labels, &normal)?;
    let few = Dataset::new(shape, 10, &pixels[..shape.values()], &labels[..1], &normal)?;

    let loss = ClassLoss::from_spec(&Spec::parse("cross-entropy")?)?;
    let candidates = vec![Candidate::new(&loss); candidates];
    let recipe = Recipe { steps, batch, precision, ..Recipe::default() };
    let layers = preset(net).ok_or("no such network")?;
    let data = Data { train: &images, validation: &few, test: None };
    // The first batches warm caches and allocate; they are not counted.
    let mut start: Option<(Instant, f64, usize)> = None;
    let mut rates = (0.0, 0.0);
    train(&layers, data, &recipe, &candidates, &mut |event| {
        if let Event::Step(step) = event {
            match start {
                None => start = Some((Instant::now(), processor_seconds(), step)),
                Some((start, seconds, first)) => {
                    let samples = ((step - first) * batch * candidates.len()) as f64;
                    rates = (samples / start.elapsed().as_secs_f64(), samples / (processor_seconds() - seconds));
                }
            }
        }
        Control::Continue
    })?;
    println!("{:.0} {:.0}", rates.0, rates.1);
    Ok(())
}

/// Seconds that all threads of this process have run, as Linux counts them, in hundredths; nothing elsewhere.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
