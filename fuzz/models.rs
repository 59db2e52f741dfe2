//! The files of trained models, as `readers.rs` has the files of data.

#![allow(dead_code, reason = "each user takes a part of it")]

#[path = "replay.rs"]
pub mod replay;

use std::path::PathBuf;
use std::sync::LazyLock;

use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use lossmith_burn::checkpoint::Checkpoint;
use lossmith_burn::cmat;
use lossmith_burn::polarmask::{BackboneKind, PolarMask, PolarMaskConfig, weights};

use replay::{Target, target};

/// Every format of a model.
pub const TARGETS: &[Target] = &[
    target("checkpoint", checkpoint, || vec![checkpoint_bytes()]),
    target("model", model, || vec![cmat::store::to_bytes(&agents().init(vec![0.0; 12], &Device::flex())).unwrap()]),
    target("weights", own_weights, || vec![own_bytes()]),
    target("torch_weights", torch_weights, || vec![include_bytes!("torch_seed.pth").to_vec()]),
];

/// The body of a target.
pub fn body(name: &str) -> fn(&[u8]) {
    TARGETS.iter().find(|target| target.name == name).expect("a target of the table").run
}

fn linear() -> Linear {
    LinearConfig::new(3, 2).init(&Device::flex().autodiff())
}

fn checkpoint_bytes() -> Vec<u8> {
    let mut optimiser = AdamConfig::new().init();
    let network = linear();
    let loss = network.forward(Tensor::<2>::ones([2, 3], &Device::flex().autodiff())).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &network);
    let network = optimiser.step(0.1, network, gradients);
    Checkpoint::of(1, &network, &optimiser).unwrap().to_bytes()
}

fn checkpoint(bytes: &[u8]) {
    if let Ok(saved) = Checkpoint::from_bytes(bytes) {
        assert_eq!(saved.to_bytes(), bytes);
        let _ = saved.restore(linear(), AdamConfig::new().init());
    }
}

fn agents() -> cmat::Config {
    cmat::Config { width: 2, classes: 2, predicates: 2, hidden: 2, pair: 2, rounds: 1 }
}

fn model(bytes: &[u8]) {
    let _ = cmat::store::from_bytes(&agents(), bytes.to_vec(), &Device::flex());
}

fn network() -> PolarMask {
    static NETWORK: LazyLock<PolarMask> = LazyLock::new(|| {
        let backbone = BackboneKind::Light;
        let config = PolarMaskConfig { classes: vec!["a".to_owned()], rays: 3, backbone, width: 32, height: 32 };
        config.init(&Device::flex()).unwrap()
    });
    NETWORK.clone()
}

fn put(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let path = FOLDER.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The header alone: the weights are a megabyte, in which a mutation meets nothing.
fn own_bytes() -> Vec<u8> {
    let bytes = weights::to_bytes(&network()).unwrap();
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    bytes[..8 + header].to_vec()
}

fn own_weights(bytes: &[u8]) {
    let _ = weights::load_own(&mut network(), &put("w.safetensors", bytes));
}

fn torch_weights(bytes: &[u8]) {
    let path = put("w.pth", bytes);
    let _ = weights::load_published(&mut network(), &path);
    let _ = weights::load_own(&mut network(), &path);
}
