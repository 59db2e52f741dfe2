//! A Python file with a function for JAX.

use super::{Module, PYTHON, Python, Tree, rows, single};

pub(super) fn source(module: &Module) -> String {
    let tree = Tree::new(module.formula);
    let python = Python { module: "jnp", number: |v| format!("{v:?}") };
    let code = python.code(&tree);
    let mut inside = String::new();
    if tree.uses(&Tree::X) {
        inside += "    x = jax.nn.one_hot(target, logits.shape[-1], dtype=y.dtype)\n";
    }
    if tree.uses(&Tree::N) {
        inside += "    n = float(logits.shape[-1])\n";
    }
    let nonzero = if code.contains("_nonzero(") { NONZERO } else { "" };
    let example = &module.example;
    format!(
        r#"{head}
import jax
import jax.numpy as jnp
import numpy as np

{nonzero}
def {function}(logits, target):
    """Mean over the rows of logits [N, C], with labels target [N]: {formula}."""
    u = jax.nn.log_softmax(logits, axis=-1)
    # No probability is less than the least normal number, but gradients pass as if it could be.
    least = jnp.log(jnp.finfo(u.dtype).tiny)
    y = jnp.exp(u + jax.lax.stop_gradient(jnp.maximum(u, least) - u))
{inside}    return jnp.mean(jnp.sum({code}, axis=-1))


def test():
    """Value and gradient are those that lossmith computed."""
    logits = jnp.array({logits})
    value, gradient = jax.value_and_grad({function})(logits, jnp.array({labels:?}))
    np.testing.assert_allclose(value, {value}, rtol=1e-4, atol=1e-5)
    expected = {gradient}
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    test()
    print("as lossmith computed")
"#,
        head = module.head("#"),
        function = module.function_name(),
        formula = module.formula_text(),
        logits = rows(&example.logits, PYTHON[0], PYTHON[1]),
        labels = example.labels,
        value = single(example.value as f32, PYTHON[0], PYTHON[1]),
        gradient = rows(&example.gradient, PYTHON[0], PYTHON[1]),
    )
}

const NONZERO: &str = r#"
def _nonzero(a):
    """The same, but for exact zeros, which have no logarithm and no inverse."""
    return jnp.where(a == 0, jnp.finfo(jnp.float32).tiny, a)

"#;
