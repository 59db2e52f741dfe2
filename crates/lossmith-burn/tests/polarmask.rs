//! PolarMask as a whole: it learns, the same every time; its weights go to files and come back; its ResNet is
//! torchvision's.

#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, PoisonError};

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use lossmith::loss::Centerness;
use lossmith_burn::bridge::to_array;
use lossmith_burn::polarmask::{
    BackboneKind, DetectSettings, PolarMask, PolarMaskConfig, Sample, TrainError, TrainSettings, detect, samples,
    train, weights,
};
use lossmith_data::make::shapes;
use lossmith_data::tensors;

/// Burn's random numbers, from which weights begin, belong to the device: tests that train must not do so side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn config(backbone: BackboneKind) -> PolarMaskConfig {
    let classes = shapes::CLASSES.iter().map(|c| (*c).to_owned()).collect();
    PolarMaskConfig { classes, rays: 36, backbone, width: 64, height: 64 }
}

fn some_samples(count: usize) -> Vec<Sample> {
    samples(&shapes::make(0, count, 64, 7).unwrap().into(), 64, 64).unwrap()
}

/// The sum of the loss's parts at each step, and the network.
fn trained(settings: &TrainSettings, samples: &[Sample]) -> Result<(Vec<f64>, PolarMask), TrainError> {
    let mut losses = Vec::new();
    let device = Device::flex().autodiff();
    let network = train(&config(BackboneKind::Light), settings, samples, &device, &mut |progress, _| {
        losses.push(progress.parts.iter().map(|p| p.1).sum());
        ControlFlow::Continue(())
    })?;
    Ok((losses, network))
}

#[test]
fn it_learns_a_few_pictures_the_same_every_time() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = some_samples(4);
    let settings = TrainSettings { epochs: 12, batch: 4, ..TrainSettings::default() };
    let (losses, _) = trained(&settings, &samples).unwrap();
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < 0.7 * losses[0], "{losses:?}");
    let short = TrainSettings { epochs: 3, ..settings };
    let (again, once_more) = (trained(&short, &samples).unwrap().0, trained(&short, &samples).unwrap().0);
    assert_eq!(again, once_more);
}

#[test]
fn every_loss_on_rays_trains_and_others_are_refused() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = some_samples(2);
    let settings = |loss: &str, rate: f64| TrainSettings {
        loss: loss.to_owned(),
        epochs: 2,
        batch: 2,
        rate,
        centerness: Centerness::Soft,
        ..TrainSettings::default()
    };
    for loss in ["polar-iou", "smooth-l1-rays(scale=0.3)", "polar-iou(kernel=\"1 - a/b\")"] {
        let (losses, _) = trained(&settings(loss, 1e-3), &samples).unwrap();
        assert!(losses.iter().all(|l| l.is_finite()), "{loss}: {losses:?}");
    }
    let refused = |settings: &TrainSettings, samples: &[Sample]| trained(settings, samples).unwrap_err().to_string();
    let message = refused(&settings("cross-entropy", 1e-3), &samples);
    assert_eq!(message, "'cross-entropy' is no loss on rays: expected polar-iou or smooth-l1-rays");
    assert!(refused(&settings("polar-iou", 1e-3), &[]).contains("no pictures with an object"));
    let message = refused(&settings("polar-iou(kernel=\"log(a - b)\")", 1e-3), &samples);
    assert!(message.contains("the loss of the rays is") && message.contains("its formula fails here"), "{message}");
    // A rate that throws the weights away is told, never a silent NaN.
    let wild = TrainSettings { epochs: 30, ..settings("polar-iou", 1e30) };
    assert!(refused(&wild, &samples).contains("input '"));
}

#[test]
fn weights_survive_their_file_and_wrong_ones_are_named() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let config = config(BackboneKind::Light);
    let network = config.init(&device).unwrap();
    std::fs::write(&path, weights::to_bytes(&network).unwrap()).unwrap();
    device.seed(2);
    let mut other = config.init(&device).unwrap();
    let pictures = shapes::make(0, 1, 64, 3).unwrap().pictures;
    let settings = DetectSettings { least: 0.0, per_level: 20, ..DetectSettings::default() };
    let found = |network: &PolarMask| detect(network, &config, &settings, &pictures, &device);
    assert_ne!(found(&network), found(&other));
    weights::load_own(&mut other, &path).unwrap();
    assert_eq!(found(&network), found(&other));
    assert!(!found(&network)[0].is_empty());

    // The last number of the file.
    let mut bytes = weights::to_bytes(&network).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let diverged = folder.path().join("diverged.safetensors");
    std::fs::write(&diverged, bytes).unwrap();
    let message = weights::load_own(&mut other, &diverged).unwrap_err().to_string();
    assert!(message.contains("tensor '") && message.contains("not finite"), "{message}");

    let mut narrow = PolarMaskConfig { rays: 24, ..config }.init(&device).unwrap();
    let message = weights::load_own(&mut narrow, &path).unwrap_err().to_string();
    assert!(
        message.contains("tensor 'head.polar_mask.") && message.contains("36") && message.contains("24"),
        "{message}"
    );
    let missing = weights::load_own(&mut narrow, &folder.path().join("none.safetensors")).unwrap_err().to_string();
    assert!(missing.ends_with("there is no such file"), "{missing}");
    assert!(weights::load_backbone(&mut narrow, &path).unwrap_err().to_string().contains("light backbone"));
}

#[test]
fn resnet_is_that_of_torchvision() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    if !python("torchvision_features.py", folder.path()) {
        return;
    }
    let device = Device::flex();
    let expected = tensors::read(&folder.path().join("features.safetensors")).unwrap();
    let array = |name: &str| match &expected[name] {
        tensors::Tensor::F32(array) => array.clone(),
        tensors::Tensor::I64(_) => panic!("features are f32"),
    };
    let x = array("x");
    let shape: [usize; 4] = x.shape().try_into().unwrap();
    let x = Tensor::<4>::from_data(TensorData::new(x.iter().copied().collect::<Vec<_>>(), shape), &device);
    for file in ["resnet50.pth", "resnet50.safetensors"] {
        let mut network = config(BackboneKind::Resnet50).init(&device).unwrap();
        weights::load_backbone(&mut network, &folder.path().join(file)).unwrap();
        for (ours, name) in network.features(x.clone()).iter().zip(["c3", "c4", "c5"]) {
            let (ours, theirs) = (to_array(ours), array(name));
            assert_eq!(ours.shape(), theirs.shape());
            let furthest = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-4, "{file}, {name}: {furthest}");
        }
    }
    let mut deep = config(BackboneKind::Resnet101).init(&device).unwrap();
    let message = weights::load_backbone(&mut deep, &folder.path().join("resnet50.pth")).unwrap_err().to_string();
    assert!(message.contains("tensor 'layer3.") && message.contains("is missing, and"), "{message}");
}

#[test]
fn a_published_checkpoint_finds_its_places() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    if !python("published_names.py", folder.path()) {
        return;
    }
    let device = Device::flex();
    let classes = (0..80).map(|i| i.to_string()).collect();
    let coco = PolarMaskConfig { classes, ..config(BackboneKind::Resnet50Caffe) };
    let mut network = coco.init(&device).unwrap();
    weights::load_published(&mut network, &folder.path().join("published.pth")).unwrap();
    let own = folder.path().join("own.safetensors");
    std::fs::write(&own, weights::to_bytes(&network).unwrap()).unwrap();
    let tensors = tensors::read(&own).unwrap();
    let names: Vec<(String, String, f32, Vec<usize>)> =
        serde_json::from_slice(&std::fs::read(folder.path().join("names.json")).unwrap()).unwrap();
    let first = names[0].2;
    assert_eq!(names.len(), tensors.len(), "every tensor of ours has one of theirs");
    for (published, ours, number, shape) in names {
        let Some(tensors::Tensor::F32(array)) = tensors.get(&ours) else { panic!("no {ours} for {published}") };
        // A single number is a list of one with us.
        let shape = if shape.is_empty() { vec![1] } else { shape };
        assert_eq!(array.shape(), shape, "{published}");
        let expected = match ours.as_str() {
            // Their colours are bytes less a mean, blue first; ours are divided by a deviation, that of red first.
            "backbone.conv1.weight" => 58.395 * number,
            "backbone.bn1.running_mean" => number - 49.0 * first * (0.9033 + 0.3335 + 0.5499),
            _ => number,
        };
        let found = array.first().copied().unwrap_or(f32::NAN);
        assert!((found - expected).abs() < 1e-4, "{published}: expected {expected}, found {found}");
    }
    let message = weights::load_published(&mut network, &folder.path().join("wrong.pth")).unwrap_err().to_string();
    assert!(message.contains("tensor 'head.polar_mask.weight' has shape [24, 256, 3, 3]"), "{message}");
    assert!(message.ends_with("the network needs [36, 256, 3, 3]"), "{message}");
}

/// Runs a script of the fixtures on a folder; `false`, with a word, where there is no Python that can.
fn python(script: &str, folder: &Path) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(script);
    let python = std::env::var("LOSSMITH_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let made = Command::new(python).arg(script).arg(folder).output();
    let made = made.is_ok_and(|output| output.status.success());
    if !made {
        eprintln!(
            "skipped: needs torch, torchvision and safetensors; LOSSMITH_TEST_PYTHON names a Python that has them"
        );
    }
    made
}
