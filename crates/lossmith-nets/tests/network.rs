//! Whole networks against PyTorch, central differences and the published parameter counts.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use lossmith_nets::{
    Candidate, Control, Data, Dataset, Layer, Model, NetsError, Network, Recipe, Shape, Weight, preset,
};
use serde_json::Value;

const LAYERS: [Layer; 7] = [
    Layer::Conv { out: 3, kernel: 3, stride: 2, pad: 1 },
    Layer::Relu,
    Layer::Conv { out: 4, kernel: 3, stride: 1, pad: 1 },
    Layer::Relu,
    Layer::MaxPool { kernel: 2, stride: 2 },
    Layer::Dense { out: 5 },
    Layer::Relu,
];
const SHAPE: Shape = Shape { height: 12, width: 11, channels: 2 };

/// What `fixtures/network.py` made with PyTorch.
fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/network.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    numbers(value).iter().map(|v| *v as u8).collect()
}

fn weights(value: &Value) -> Vec<Weight> {
    let weight = |(name, w): (&String, &Value)| Weight {
        name: name.clone(),
        shape: numbers(&w["shape"]).iter().map(|v| *v as usize).collect(),
        values: numbers(&w["values"]).iter().map(|v| *v as f32).collect(),
    };
    value.as_object().unwrap().iter().map(weight).collect()
}

fn dataset(fixture: &Value) -> Dataset {
    let (pixels, labels) = (bytes(&fixture["pixels"]), bytes(&fixture["labels"]));
    Dataset::new(SHAPE, 3, &pixels, &labels, &[(0.4, 0.3), (0.5, 0.2)]).unwrap()
}

/// Cross-entropy, plainly.
fn cross_entropy(logits: &[f32], labels: &[u32], classes: usize, gradient: &mut [f32]) -> f64 {
    let mut total = 0.0;
    for ((z, label), g) in logits.chunks(classes).zip(labels).zip(gradient.chunks_mut(classes)) {
        let sum: f64 = z.iter().map(|z| f64::from(*z).exp()).sum();
        total += sum.ln() - f64::from(z[*label as usize]);
        for (j, (g, z)) in g.iter_mut().zip(z).enumerate() {
            let wanted = f64::from(u8::from(j == *label as usize));
            *g = ((f64::from(*z).exp() / sum - wanted) / labels.len() as f64) as f32;
        }
    }
    total / labels.len() as f64
}

fn assert_close(ours: &[Weight], theirs: &[Weight], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    for weight in ours {
        let peer = theirs.iter().find(|w| w.name == weight.name).unwrap();
        assert_eq!(weight.shape, peer.shape, "{}", weight.name);
        for (i, (a, b)) in weight.values.iter().zip(&peer.values).enumerate() {
            assert!((a - b).abs() < tolerance, "{}[{i}]: {a}, PyTorch {b}", weight.name);
        }
    }
}

#[test]
fn value_and_gradient_are_those_of_pytorch() {
    let fixture = fixture();
    let model = Model::from_weights(&LAYERS, SHAPE, 3, &weights(&fixture["weights"])).unwrap();
    let images = dataset(&fixture);
    for (ours, theirs) in model.logits(&images).unwrap().iter().zip(numbers(&fixture["logits"])) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-5, "logit {ours}, PyTorch {theirs}");
    }
    let (loss, gradient) = model.gradient(&images, &cross_entropy).unwrap();
    assert!((loss - fixture["loss"].as_f64().unwrap()).abs() < 1e-6);
    assert_close(&gradient, &weights(&fixture["gradient"]), 2e-6);
}

#[test]
fn steps_with_momentum_and_decay_are_those_of_pytorch() {
    let fixture = fixture();
    let model = Model::from_weights(&LAYERS, SHAPE, 3, &weights(&fixture["weights"])).unwrap();
    let images = dataset(&fixture);
    let recipe = Recipe { steps: 5, batch: 6, rate: 0.05, momentum: 0.9, weight_decay: 0.01, ..Recipe::default() };
    let data = Data { train: &images, validation: &images, test: None };
    let after = model.train(data, &recipe, &[Candidate::new(&cross_entropy)], &mut |_| Control::Continue).unwrap();
    assert_close(&after[0].weights, &weights(&fixture["after_5_steps"]), 2e-6);
}

#[test]
fn gradient_is_the_central_difference() {
    let fixture = fixture();
    let start = weights(&fixture["weights"]);
    let images = dataset(&fixture);
    let loss = |weights: &[Weight]| {
        let model = Model::from_weights(&LAYERS, SHAPE, 3, weights).unwrap();
        model.gradient(&images, &cross_entropy).unwrap()
    };
    let (_, gradient) = loss(&start);
    let step = 2e-3;
    let (mut checked, mut asked) = (0, 0);
    for gradient in gradient {
        let at = start.iter().position(|w| w.name == gradient.name).unwrap();
        for i in (0..gradient.values.len()).step_by(7) {
            let moved = |by: f32| {
                let mut weights = start.clone();
                weights[at].values[i] += by;
                loss(&weights).0
            };
            // Where ReLU or a maximum turns in between, the sides differ, and nothing is said.
            let (below, here, above) = (moved(-step), moved(0.0), moved(step));
            let (left, right) = ((here - below) / f64::from(step), (above - here) / f64::from(step));
            asked += 1;
            if (left - right).abs() < 1e-3 {
                checked += 1;
                let difference = (left + right) / 2.0;
                let found = f64::from(gradient.values[i]);
                assert!((found - difference).abs() < 1e-3, "{}[{i}]: {found}, {difference}", gradient.name);
            }
        }
    }
    assert!(checked * 10 > asked * 7, "only {checked} of {asked}");
}

#[test]
fn presets_have_the_published_number_of_parameters() {
    let grey = Shape { height: 28, width: 28, channels: 1 };
    let colour = Shape { height: 32, width: 32, channels: 3 };
    let parameters = |name, shape| Network::new(&preset(name).unwrap(), shape, 10).unwrap().parameters();
    assert_eq!(parameters("lenet", grey), 3_274_634);
    assert_eq!(parameters("mlp", grey), 101_770);
    // 64 (363 + 1) + 192 (1600 + 1) + 384 (1728 + 1) + 256 (3456 + 1) + 256 (2304 + 1) + 10 (256 + 1)
    assert_eq!(parameters("alexnet-cifar", colour), 2_472_266);
    assert_eq!(parameters("mlp", colour), 3072 * 128 + 128 + 1290);
    assert_eq!(parameters("lenet", colour), 32 * 76 + 64 * 801 + 4096 * 1024 + 1024 + 10250);
}

#[test]
fn layers_that_cannot_stand_are_named() {
    let grey = Shape { height: 28, width: 28, channels: 1 };
    let message = |layers: &[Layer]| Network::new(layers, grey, 10).unwrap_err().to_string();
    assert_eq!(
        message(&preset("alexnet-cifar").unwrap()),
        "layer 13 (max-pool): its window does not fit into 1 x 1 pixels"
    );
    assert_eq!(message(&[Layer::Relu]), "layer 1 (relu): expected after a convolution, pooling or dense layer");
    let late = [Layer::Dense { out: 4 }, Layer::MaxPool { kernel: 2, stride: 2 }];
    assert_eq!(message(&late), "layer 2 (max-pool): expected before the first dense layer");
    let padded = Layer::Conv { out: 1, kernel: 3, stride: 1, pad: 3 };
    assert_eq!(message(&[padded]), "layer 1 (conv): pad: expected less than the kernel");
    assert!(message(&[Layer::Conv { out: 0, kernel: 3, stride: 1, pad: 0 }]).contains("out: expected 1 to"));
    assert!(message(&[Layer::Conv { out: 1, kernel: 3, stride: 0, pad: 0 }]).contains("stride"));
    assert!(message(&[Layer::Dense { out: 1 << 20 }, Layer::Dense { out: 1 << 20 }]).contains("more than"));
    assert!(message(&[Layer::Dense { out: 4 }, Layer::Dropout { p: 1.0 }]).contains("less than 1"));
}

#[test]
fn weights_go_out_and_in() {
    let colour = Shape { height: 32, width: 32, channels: 3 };
    let layers = preset("lenet").unwrap();
    let model = Model::new(&layers, colour, 10, 3).unwrap();
    let weights = model.weights();
    assert_eq!(weights[0].name, "conv1.weight");
    assert_eq!(weights[2].shape, [64, 32, 5, 5]);
    let again = Model::from_weights(&layers, colour, 10, &weights).unwrap();
    assert_eq!(again.weights(), weights);
    let fewer = Model::from_weights(&layers, colour, 10, &weights[..7]).unwrap_err();
    assert_eq!(fewer, NetsError::Weights("fc2.bias: missing, expected shape [10]".to_owned()));
    let other = Model::from_weights(&layers, colour, 11, &weights).unwrap_err().to_string();
    assert_eq!(other, "weights: fc2.weight: expected shape [11, 1024], found [10, 1024]");
}
