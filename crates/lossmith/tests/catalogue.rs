//! What every loss of the catalogue must pass; a new entry joins by itself.

#![allow(clippy::unwrap_used)]

use lossmith::check::{Check, extremes};
use lossmith::loss::catalogue::ENTRIES;
use lossmith::loss::{Arguments, Entry, Inputs, Loss, Spec};

/// Losses that have no finite value at the extremes: they say so in `corners`.
const UNBOUNDED: &[&str] = &["exponential"];

/// Losses that hold a term fixed under the gradient, with the arguments under which it is constant: only there is the
/// gradient the slope of the value. The loss's own file tests what the gradient is otherwise.
const FROZEN: &[(&str, &str)] = &[("counterfactual-critic", "counterfactual-critic(critic=none)")];

fn build(entry: &'static Entry) -> Box<dyn Loss> {
    Spec::Named(Arguments::defaults(entry)).build().unwrap()
}

#[test]
fn gradients_are_those_of_the_values() {
    for entry in ENTRIES {
        let frozen = FROZEN.iter().find(|(name, _)| *name == entry.name);
        let loss = frozen.map_or_else(|| build(entry), |(_, text)| Spec::parse(text).unwrap().build().unwrap());
        for seed in 0..5 {
            let inputs = (entry.example)(seed);
            let report = Check::single().loss(&*loss, &inputs, entry.inputs[0].name).unwrap();
            assert!(report.passed() && report.coordinates > 0, "{}, seed {seed}: {report}", entry.name);
        }
    }
}

#[test]
fn extremes_are_finite_or_refused() {
    for entry in ENTRIES {
        let loss = build(entry);
        for (seed, magnitude) in [(0, 1e2), (1, 1e4), (2, 1e4), (3, 1e4)] {
            let Ok(there) = extremes(&*loss, &(entry.example)(seed), entry.inputs[0].name, magnitude, seed) else {
                continue;
            };
            let finite = there.value.is_finite() && there.grad.iter().all(|g| g.is_finite());
            let none_undefined = !there.value.is_nan() && !there.grad.iter().any(|g| g.is_nan());
            assert!(finite || UNBOUNDED.contains(&entry.name), "{} at {magnitude}: {}", entry.name, there.value);
            assert!(none_undefined, "{} at {magnitude}: {}", entry.name, there.value);
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    for entry in ENTRIES {
        let (a, b) = (build(entry).evaluate(&(entry.example)(7)), build(entry).evaluate(&(entry.example)(7)));
        assert_eq!(a.unwrap(), b.unwrap(), "{}", entry.name);
    }
}

#[test]
fn entries_are_complete_and_their_text_is_their_identity() {
    for entry in ENTRIES {
        assert!(std::ptr::eq(Entry::find(entry.name).unwrap(), *entry), "the name {} is taken twice", entry.name);
        let texts = [entry.summary, entry.formula, entry.gradient, entry.space, entry.corners, entry.reference];
        assert!(texts.iter().all(|t| !t.is_empty()), "{} leaves something unsaid", entry.name);
        assert!(entry.params.iter().all(|p| !p.doc.is_empty()) && entry.inputs.iter().all(|i| !i.doc.is_empty()));
        let spec = Spec::parse(entry.name).unwrap();
        assert_eq!(spec.to_string(), entry.name);
        let inputs = (entry.example)(0);
        assert!(
            entry.inputs.iter().all(|i| i.optional || inputs.has(i.name)),
            "{}'s example lacks an array",
            entry.name
        );
    }
}

type Magnitudes = fn(f32) -> bool;

/// Where a loss is infinite or undefined, as its `corners` say, from this magnitude on or down to it.
const INFINITE: &[(&str, Magnitudes)] = &[
    ("exponential", |m| m > 88.0),
    ("discriminative", |m| m > 1e18),
    // No ray overlaps; a slope of 1/a has no f32.
    ("polar-iou", |m| m < 1e-37),
];

#[test]
fn the_whole_range_of_f32_is_finite_or_refused() {
    for entry in ENTRIES {
        let mut answers = 0;
        for magnitude in [0.0, 1e-45, 1e-39, f32::MIN_POSITIVE, 1e-20, 1.0, 20.0, 89.0, 1e20, 1.5e38, f32::MAX] {
            for sign in [None, Some(1.0), Some(-1.0)] {
                let name = entry.inputs[0].name;
                let example = (entry.example)(3);
                let mut point = example.f32_of_any_shape(name).unwrap().to_owned();
                point
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, v)| *v = magnitude * sign.unwrap_or(if i % 3 == 0 { 1.0 } else { -1.0 }));
                let Ok(there) = build(entry).evaluate(&example.with(name, point)) else { continue };
                answers += 1;
                let what = format!("{} at {magnitude:e}, {sign:?}: {}", entry.name, there.value);
                assert!(!(there.value == 0.0 && there.value.is_sign_negative()), "{what}");
                if !INFINITE.iter().any(|(name, at)| *name == entry.name && at(magnitude)) {
                    assert!(there.value.is_finite(), "{what}");
                    assert!(there.grad.iter().all(|g| g.is_finite()), "{what}: {}", there.grad);
                }
            }
        }
        assert!(answers > 10, "{}: {answers}", entry.name);
    }
}

#[test]
fn of_nothing_a_loss_is_zero_or_refuses() {
    let floats = |shape: &[usize]| ndarray::ArrayD::<f32>::zeros(shape);
    let integers = |shape: &[usize]| ndarray::ArrayD::<i64>::zeros(shape);
    for (loss, inputs, refused) in [
        ("focal", Inputs::new().with("prediction", floats(&[0, 3])).with("target", integers(&[0])), ""),
        ("focal", Inputs::new().with("prediction", floats(&[1, 3])).with("target", integers(&[1]) - 1), ""),
        ("polar-iou", Inputs::new().with("prediction", floats(&[0, 4])).with("target", floats(&[0, 4])), ""),
        ("smooth-l1-rays", Inputs::new().with("prediction", floats(&[0, 4])).with("target", floats(&[0, 4])), ""),
        ("polar-centerness", Inputs::new().with("prediction", floats(&[0])).with("target", floats(&[0, 4])), ""),
        (
            "discriminative",
            Inputs::new().with("embedding", floats(&[1, 2, 3, 3])).with("labels", integers(&[1, 3, 3])),
            "",
        ),
        (
            "discriminative",
            Inputs::new().with("embedding", floats(&[1, 2, 0, 3])).with("labels", integers(&[1, 0, 3])),
            "",
        ),
        (
            "hinge",
            Inputs::new().with("prediction", floats(&[0])).with("target", floats(&[0])),
            "'prediction': is empty",
        ),
        ("zero-one", Inputs::new().with("prediction", floats(&[0])).with("target", floats(&[0])), "is empty"),
        (
            "graphical-contrastive",
            ["subject", "object", "subject_class", "object_class", "predicate"]
                .into_iter()
                .fold(Inputs::new().with("logits", floats(&[0, 3])), |inputs, name| inputs.with(name, integers(&[0]))),
            "",
        ),
    ] {
        match Spec::parse(loss).unwrap().build().unwrap().evaluate(&inputs) {
            Ok(found) => {
                let parts = found.parts.iter().map(|p| p.1);
                assert!(
                    refused.is_empty() && parts.chain([found.value]).all(|v| v.to_bits() == 0),
                    "{loss}: {found:?}"
                );
                assert!(found.grad.iter().all(|g| *g == 0.0), "{loss}: {found:?}");
            }
            Err(error) => {
                assert!(!refused.is_empty() && error.to_string().contains(refused), "{loss}: {error}");
            }
        }
    }
}

#[test]
fn margins_take_signs_only() {
    let evaluate = |loss: &str, target: Vec<f32>| {
        let prediction = ndarray::Array1::linspace(-1.0f32, 1.0, target.len()).into_dyn();
        let inputs =
            Inputs::new().with("prediction", prediction).with("target", ndarray::Array1::from_vec(target).into_dyn());
        Spec::parse(loss).unwrap().build().unwrap().evaluate(&inputs).map(|e| e.value).map_err(|e| e.to_string())
    };
    for loss in ["perceptron", "hinge", "log", "exponential"] {
        assert!(evaluate(loss, vec![1.0, -1.0, 1.0]).is_ok());
        assert_eq!(
            evaluate(loss, vec![1.0, 0.0, 1.0]).unwrap_err(),
            "input 'target': expected -1 or 1, found 0 at [1]; of targets 0 and 1, as these are, 2*target - 1 makes -1 and 1"
        );
        assert_eq!(
            evaluate(loss, vec![-1.0, 0.5, 0.0]).unwrap_err(),
            "input 'target': expected -1 or 1, found 0.5 at [1]"
        );
    }
    for loss in ["zero-one", "tolerant-zero-one", "absolute", "squared"] {
        assert!(evaluate(loss, vec![0.0, 1.0, 0.5]).is_ok(), "{loss} is of any numbers");
    }
}

#[test]
fn an_array_that_a_loss_does_not_read_is_refused() {
    for entry in ENTRIES {
        let spec = Spec::parse(entry.name).unwrap();
        let inputs = (entry.example)(0);
        assert_eq!(spec.check_names(&inputs), Ok(()), "{}", entry.name);
        for known in entry.inputs {
            let misspelt = format!("{}x", known.name);
            let error =
                spec.check_names(&inputs.clone().with(&misspelt, ndarray::ArrayD::<f32>::zeros(vec![1]))).unwrap_err();
            let said =
                format!("input '{misspelt}': the loss reads no such array, did you mean '{}'? (it reads ", known.name);
            assert!(error.to_string().starts_with(&said), "{error}");
        }
    }
    let formula = Spec::parse("-x*log(y)").unwrap();
    let error = formula
        .check_names(&(ENTRIES[8].example)(0).with("weight", ndarray::ArrayD::<f32>::zeros(vec![1])))
        .unwrap_err();
    assert_eq!(error.to_string(), "input 'weight': the loss reads no such array (it reads logits, target)");
}

/// What a user meant by a word is guessed among what the word could be: losses, or functions of formulas where it is called as one.
#[test]
fn unknown_words_are_told_from_losses_and_functions() {
    for (text, said) in [
        ("bikal", "there is no loss 'bikal', did you mean 'baikal'?; `lossmith losses` lists them"),
        ("poli-loss(epsilon=1)", "there is no loss 'poli-loss', did you mean 'poly-loss'?"),
        (
            "logg(y)",
            "there is no loss 'logg' and no function of formulas (log, exp, sqrt, square, abs, tanh, max, min, ln, log1p, sigmoid, pow), did you mean 'log'?",
        ),
        ("powr(y, 2)", "did you mean 'pow'?"),
        ("gudermann(y)", "sigmoid, pow); `lossmith losses`"),
    ] {
        let error = Spec::parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
    for (text, same) in
        [("pow(y, 2)", "y^2"), ("-ln(y)", "-log(y)"), ("(1-y)**2*x", "(1 - y)^2*x"), ("sigmoid(y)", "1/(1 + exp(-y))")]
    {
        assert_eq!(Spec::parse(text), Spec::parse(same), "{text}");
    }
}
