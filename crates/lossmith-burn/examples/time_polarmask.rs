//! Times PolarMask on the CPU: a forward pass, or a training step with its targets and losses.
//!
//! `time_polarmask forward|step BACKBONE WIDTH HEIGHT BATCH ROUNDS`, BACKBONE as in recipes; prints the median in milliseconds.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use lossmith_burn::polarmask::{PolarMaskConfig, Sample, TrainSettings, Turn, batch, samples, train};
use lossmith_data::make::shapes;

type Fault = Box<dyn std::error::Error>;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, backbone, width, height, images, rounds] = arguments.as_slice() else {
        return Err("expected forward|step BACKBONE WIDTH HEIGHT BATCH ROUNDS".into());
    };
    let (width, height, images, rounds): (usize, usize, usize, usize) =
        (width.parse()?, height.parse()?, images.parse()?, rounds.parse()?);
    let backbone = serde_json::from_value(backbone.as_str().into())?;
    let classes = shapes::CLASSES.iter().map(|c| (*c).to_owned()).collect();
    let config = PolarMaskConfig { classes, rays: 36, backbone, width, height };
    let samples = samples(&shapes::make(0, images, 128, 1)?.into(), width, height)?;
    let times = match what.as_str() {
        "forward" => forward(&config, &samples, rounds)?,
        "step" => steps(&config, &samples, rounds)?,
        other => return Err(format!("expected forward or step, found {other}").into()),
    };
    println!("{:.3}", median(times));
    Ok(())
}

fn forward(config: &PolarMaskConfig, samples: &[Sample], rounds: usize) -> Result<Vec<f64>, Fault> {
    let device = Device::flex();
    let network = config.init(&device)?.no_grad();
    let views = samples.iter().map(|s| s.view(Turn::default())).collect::<Result<Vec<_>, _>>()?;
    let x = batch(&views.iter().map(|v| &v.0).collect::<Vec<_>>(), &device);
    let once = |_| {
        let start = Instant::now();
        let said = network.forward(x.clone()).rays.sum().into_scalar::<f32>();
        assert!(said.is_finite());
        start.elapsed().as_secs_f64() * 1e3
    };
    // The first one warms up.
    Ok((0..=rounds).map(once).skip(1).collect())
}

fn steps(config: &PolarMaskConfig, samples: &[Sample], rounds: usize) -> Result<Vec<f64>, Fault> {
    let settings = TrainSettings { epochs: rounds + 1, batch: samples.len(), rate: 1e-5, ..TrainSettings::default() };
    let (mut times, mut last) = (Vec::new(), Instant::now());
    train(config, &settings, samples, &Device::flex().autodiff(), &mut |_, _| {
        times.push(last.elapsed().as_secs_f64() * 1e3);
        last = Instant::now();
        ControlFlow::Continue(())
    })?;
    Ok(times.split_off(1))
}
