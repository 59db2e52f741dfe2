//! A Python file with a function for JAX.

use super::python::{Code, Python, arguments};
use super::{LEAST_PROBABILITY, Module, PYTHON, Steps, rows, single};

pub(super) fn source(module: &Module) -> String {
    let python = Python { module: "jnp", number: |v| format!("{v:?}"), helpers: HELPERS, own_lines, other_lines };
    let Code { uses_classes, lines, sum, functions } = python.code(&module.steps());
    let n = if uses_classes { "    n = float(logits.shape[1])\n" } else { "" };
    let example = &module.example;
    format!(
        r#"{head}
import jax
import jax.numpy as jnp
import numpy as np

# The least normal float32: no probability that the formula sees is less, in any precision.
TINY = {tiny:?}
LOWEST = {lowest:?}


def {function}(logits, target):
    """{formula}, x one-hot label, y softmax of the logits, n classes.

    logits [N, C], [N, C, d1, ...] or [C]: any finite numbers; target [N], [N, d1, ...] or []: labels from 0 to C - 1.
    The result is the mean over all labels, in float64 for logits of float64 and in float32 for all others. A label out of
    range is an error, or under jit, where none can be raised, makes the result NaN.
    """
    logits, target = _checked(logits, target)
    label = _classes(logits) == jnp.expand_dims(target, 1)
{n}{lines}    valid = (target >= 0) & (target < logits.shape[1])
    return jnp.mean(jnp.where(valid, {sum}, jnp.nan))


{functions}

def test():
    """Value and gradient are those that lossmith computed."""
    logits = jnp.array({logits})
    value, gradient = jax.value_and_grad({function})(logits, jnp.array({labels:?}))
    np.testing.assert_allclose(value, {value}, rtol=1e-5, atol=1e-6)
    expected = {gradient}
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    test()
    print("as lossmith computed")
"#,
        head = module.head("#"),
        tiny = f64::from(LEAST_PROBABILITY),
        lowest = f64::from(f32::MIN),
        function = module.function_name(),
        formula = module.formula_text(),
        logits = rows(&example.logits, PYTHON[0], PYTHON[1]),
        labels = example.labels,
        value = single(example.value as f32, PYTHON[0], PYTHON[1]),
        gradient = rows(&example.gradient, PYTHON[0], PYTHON[1]),
    )
}

fn own_lines(own: &Steps) -> String {
    let arguments = arguments(own);
    let mut lines = vec!["margin = _margin(logits, label)  # log(y / (1 - y)) of the label".to_owned()];
    lines.push("u = jax.nn.log_sigmoid(margin)  # log y".to_owned());
    if arguments.contains(&"v") {
        lines.push("v = jax.nn.log_sigmoid(-margin)  # log(1 - y)".to_owned());
    }
    lines.push(format!("own = jnp.squeeze(_own({}), 1)", arguments.join(", ")));
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

fn other_lines(others: &Steps) -> String {
    let arguments = arguments(others);
    let lines = if others.has_prediction() {
        let mut lines = vec!["u = _log_probability(logits)".to_owned()];
        if arguments.contains(&"v") {
            lines.push("v = jnp.where(label, -1.0, _log_missed(logits, u))".to_owned());
        }
        lines.push("# The label's place is taken by a number that does no harm, and its loss is left out.".to_owned());
        lines.push("u = jnp.where(label, -1.0, u)".to_owned());
        lines.push(format!("other = jnp.sum(jnp.where(label, 0.0, _other({})), 1)", arguments.join(", ")));
        lines
    } else {
        let call = format!("other = (logits.shape[1] - 1) * _other({})", arguments.join(", "));
        vec!["u = jnp.zeros_like(own)".to_owned(), call]
    };
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

const HELPERS: &[(&str, &str)] = &[
    (
        "_checked",
        r#"def _checked(logits, target):
    """Logits [N, C, ...] in full precision and labels [N, ...]."""
    logits, target = jnp.asarray(logits), jnp.asarray(target)
    if logits.ndim == 1:
        logits, target = logits[None], target[None]
    if logits.ndim == 0 or logits.shape[1] == 0 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"expected logits [N, C, ...] and a target [N, ...] of labels, found {logits.shape} and {target.shape}"
        )
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(f"expected a target of whole numbers, found {target.dtype}")
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"expected logits of a floating-point type, found {logits.dtype}")
    if not isinstance(target, jax.core.Tracer):
        wrong = np.asarray(target)[(np.asarray(target) < 0) | (np.asarray(target) >= logits.shape[1])]
        if wrong.size > 0:
            raise ValueError(f"expected labels from 0 to {logits.shape[1] - 1}, found {wrong[0]}")
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), target
"#,
    ),
    (
        "_classes",
        r#"def _classes(logits):
    """0 to C - 1 along the dimension of the classes."""
    return jnp.arange(logits.shape[1]).reshape((1, -1) + (1,) * (logits.ndim - 2))
"#,
    ),
    (
        "_margin",
        r#"def _margin(logits, label):
    """log(y / (1 - y)) of one class of every row; exact however close y is to 0 or 1."""
    if logits.shape[1] == 1:
        return 0.0 * logits - LOWEST
    others = jax.nn.logsumexp(jnp.where(label, LOWEST, logits), axis=1, keepdims=True)
    return jnp.sum(jnp.where(label, logits, 0.0), axis=1, keepdims=True) - others
"#,
    ),
    (
        "_log_probability",
        r#"def _log_probability(logits):
    """log y of every class; that of the largest from its margin, which has all digits."""
    largest = _largest(logits)
    return jnp.where(largest, jax.nn.log_sigmoid(_margin(logits, largest)), jax.nn.log_softmax(logits, axis=1))


def _largest(logits):
    """Marks the largest of every row."""
    return _classes(logits) == jnp.argmax(logits, axis=1, keepdims=True)
"#,
    ),
    (
        "_log_missed",
        r#"def _log_missed(logits, u):
    """log(1 - y) of every class, from u = log y; that of the largest from its margin."""
    largest = _largest(logits)
    v = jnp.log1p(-jnp.exp(jnp.where(largest, -1.0, u)))
    return jnp.where(largest, jax.nn.log_sigmoid(-_margin(logits, largest)), v)
"#,
    ),
    (
        "_probability",
        r#"def _probability(log):
    """exp(log), but no less than TINY; the slope is that of an exponential everywhere."""
    held = jax.lax.stop_gradient(log)
    return jnp.maximum(jnp.exp(held), TINY) * jnp.exp(log - held)
"#,
    ),
    (
        "_inverse",
        r#"def _inverse(log):
    """1 / _probability(log), with a slope that stays in range."""
    held = jax.lax.stop_gradient(log)
    return 1.0 / jnp.maximum(jnp.exp(held), TINY) * jnp.exp(held - log)
"#,
    ),
    (
        "_power",
        r#"def _power(a, b):
    """a**b; where a is 0 the slope is taken as 0."""
    zero = a == 0
    return jnp.where(zero, jnp.zeros_like(a) ** jax.lax.stop_gradient(b), jnp.where(zero, 1.0, a) ** b)
"#,
    ),
];
