//! A Python file with an `nn.Module`.

use super::{Module, PYTHON, Python, Tree, rows, single};

pub(super) fn source(module: &Module) -> String {
    let tree = Tree::new(module.formula);
    let python = Python { module: "torch", number: |v| format!("y.new_tensor({v:?})") };
    let code = python.code(&tree);
    let mut inside = String::new();
    if tree.uses(&Tree::X) {
        inside += "        x = nn.functional.one_hot(target, logits.shape[-1]).to(y.dtype)\n";
    }
    if tree.uses(&Tree::N) {
        inside += "        n = y.new_tensor(float(logits.shape[-1]))\n";
    }
    let nonzero = if code.contains("_nonzero(") { NONZERO } else { "" };
    let example = &module.example;
    format!(
        r#"{head}
import math

import torch
from torch import nn

{nonzero}
class {class}(nn.Module):
    """{formula}, x one-hot label, y softmax of the logits, n classes."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over the rows of logits [N, C], with labels target [N]."""
        u = torch.log_softmax(logits, dim=-1)
        # No probability is less than the least normal number, but gradients pass as if it could be.
        least = math.log(torch.finfo(u.dtype).tiny)
        y = torch.exp(u + (u.clamp_min(least) - u).detach())
{inside}        return ({code}).sum(dim=-1).mean()


def test():
    """Value and gradient are those that lossmith computed."""
    logits = torch.tensor({logits}, requires_grad=True)
    loss = {class}()(logits, torch.tensor({labels:?}))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor({value}), rtol=1e-4, atol=1e-5, equal_nan=True)
    gradient = torch.tensor({gradient})
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-4, atol=1e-5, equal_nan=True)


if __name__ == "__main__":
    test()
    print("as lossmith computed")
"#,
        head = module.head("#"),
        class = module.type_name(),
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
    return torch.where(a == 0, torch.full_like(a, torch.finfo(a.dtype).tiny), a)

"#;
