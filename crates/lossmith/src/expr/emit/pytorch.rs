//! A Python file with an `nn.Module`.

use super::python::{Code, Python, arguments};
use super::{LEAST_PROBABILITY, Module, PYTHON, Steps, rows, single};

pub(super) fn source(module: &Module) -> String {
    let python = Python {
        module: "torch",
        number: |v| format!("u.new_tensor({v:?})"),
        helpers: HELPERS,
        own_lines,
        other_lines,
    };
    let Code { uses_classes, lines, sum, functions } = python.code(&module.steps());
    let n = if uses_classes { "        n = logits.new_tensor(float(logits.shape[1]))\n" } else { "" };
    let example = &module.example;
    format!(
        r#"{head}
import torch
import torch.nn.functional as F
from torch import nn

# The least normal float32: no probability that the formula sees is less, in any precision.
TINY = {tiny:?}
LOWEST = {lowest:?}


class {class}(nn.Module):
    """{formula}, x one-hot label, y softmax of the logits, n classes.

    logits [N, C], [N, C, d1, ...] or [C]: any finite numbers; target [N], [N, d1, ...] or []: labels from 0 to C - 1.
    The result is the mean over all labels, in float64 for logits of float64 and in float32 for all others.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits, label = _checked(logits, target)
{n}{lines}        return ({sum}).mean()


{functions}

def test():
    """Value and gradient are those that lossmith computed."""
    logits = torch.tensor({logits}, requires_grad=True)
    loss = {class}()(logits, torch.tensor({labels:?}))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor({value}), rtol=1e-5, atol=1e-6, equal_nan=True)
    gradient = torch.tensor({gradient})
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-5, atol=1e-6, equal_nan=True)


if __name__ == "__main__":
    test()
    print("as lossmith computed")
"#,
        head = module.head("#"),
        tiny = f64::from(LEAST_PROBABILITY),
        lowest = f64::from(f32::MIN),
        class = module.type_name(),
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
    lines.push("u = F.logsigmoid(margin)  # log y".to_owned());
    if arguments.contains(&"v") {
        lines.push("v = F.logsigmoid(-margin)  # log(1 - y)".to_owned());
    }
    lines.push(format!("own = _own({}).squeeze(1)", arguments.join(", ")));
    lines.iter().map(|line| format!("        {line}\n")).collect()
}

fn other_lines(others: &Steps) -> String {
    if !others.has_prediction() {
        let lines = [
            "u = torch.zeros_like(own)".to_owned(),
            format!("other = (logits.shape[1] - 1) * _other({})", arguments(others).join(", ")),
        ];
        return lines.iter().map(|line| format!("        {line}\n")).collect();
    }
    let arguments = arguments(others);
    let mut lines = vec!["u = _log_probability(logits)".to_owned()];
    if arguments.contains(&"v") {
        lines.push("v = _log_missed(logits, u).scatter(1, label, -1.0)".to_owned());
    }
    lines.push("# The label's place is taken by a number that does no harm, and its loss is left out.".to_owned());
    lines.push("u = u.scatter(1, label, -1.0)".to_owned());
    lines.push(format!("other = _other({}).scatter(1, label, 0.0).sum(1)", arguments.join(", ")));
    lines.iter().map(|line| format!("        {line}\n")).collect()
}

const HELPERS: &[(&str, &str)] = &[
    (
        "_checked",
        r#"def _checked(logits, target):
    """Logits [N, C, ...] in full precision and labels [N, 1, ...]."""
    if logits.dim() == 1:
        logits, target = logits.unsqueeze(0), target.unsqueeze(0)
    if logits.dim() == 0 or logits.shape[1] == 0 or target.shape != logits.shape[:1] + logits.shape[2:]:
        shapes = f"{list(logits.shape)} and {list(target.shape)}"
        raise ValueError(f"expected logits [N, C, ...] and a target [N, ...] of labels, found {shapes}")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"expected a target of whole numbers, found {target.dtype}")
    if not logits.is_floating_point():
        raise TypeError(f"expected logits of a floating-point type, found {logits.dtype}")
    if logits.dtype != torch.float64:
        logits = logits.float()
    return logits, target.long().unsqueeze(1)
"#,
    ),
    (
        "_margin",
        r#"def _margin(logits, label):
    """log(y / (1 - y)) of one class of every row; exact however close y is to 0 or 1."""
    if logits.shape[1] == 1:
        return 0.0 * logits - LOWEST
    return logits.gather(1, label) - logits.scatter(1, label, LOWEST).logsumexp(1, keepdim=True)
"#,
    ),
    (
        "_log_probability",
        r#"def _log_probability(logits):
    """log y of every class; that of the largest from its margin, which has all digits."""
    largest = logits.argmax(1, keepdim=True)
    return torch.log_softmax(logits, 1).scatter(1, largest, F.logsigmoid(_margin(logits, largest)))
"#,
    ),
    (
        "_log_missed",
        r#"def _log_missed(logits, u):
    """log(1 - y) of every class, from u = log y; that of the largest from its margin."""
    largest = logits.argmax(1, keepdim=True)
    v = torch.log1p(-torch.exp(u.scatter(1, largest, -1.0)))
    return v.scatter(1, largest, F.logsigmoid(-_margin(logits, largest)))
"#,
    ),
    (
        "_probability",
        r#"def _probability(log):
    """exp(log), but no less than TINY; the slope is that of an exponential everywhere."""
    held = log.detach()
    return torch.exp(held).clamp_min(TINY) * torch.exp(log - held)
"#,
    ),
    (
        "_inverse",
        r#"def _inverse(log):
    """1 / _probability(log), with a slope that stays in range."""
    held = log.detach()
    return torch.exp(held).clamp_min(TINY).reciprocal() * torch.exp(held - log)
"#,
    ),
    (
        "_power",
        r#"def _power(a, b):
    """a**b; where a is 0 the slope is taken as 0."""
    zero = a == 0
    b = torch.as_tensor(b, dtype=a.dtype, device=a.device)
    return torch.where(zero, torch.zeros_like(a) ** b.detach(), torch.where(zero, torch.ones_like(a), a) ** b)
"#,
    ),
];
