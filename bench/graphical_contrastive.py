"""Value and gradient of the graphical contrastive losses: lossmith against PyTorch, the same 2048 pairs x 71 in one run.

    cargo build --release --workspace --test catalogue --example time_graphical_contrastive
    python bench/graphical_contrastive.py

Ours: crates/lossmith/examples/time_graphical_contrastive.rs. Peers: the losses as scatter reductions over dense
(anchor, class) tables, and one group at a time (crates/lossmith/tests/fixtures/graphical_contrastive.py). Rounds are
interleaved; medians are compared.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "crates/lossmith/tests/fixtures"))
from graphical_contrastive import LAMBDA, MARGIN, case, loop_form  # noqa: E402

ENTITIES, CLASSES, PREDICATES, ROUNDS = 46, 20, 70, 9


def vectorised(logits, inputs):
    """The released form (flat mean, dummy item), without a loop over groups."""
    predicate = inputs["predicate"]
    affinity = 1 - torch.softmax(logits, 1)[:, 0]
    said = logits[:, 1:].argmax(1) + 1
    positive = predicate > 0
    total = LAMBDA[0] * torch.nn.functional.cross_entropy(logits, predicate)
    for anchor, free in (("subject", "object_class"), ("object", "subject_class")):
        zero = torch.zeros_like(predicate)
        for level, of_positive, of_negative, width in (
            (1, zero, zero, 1), (2, inputs[free], inputs[free], CLASSES), (3, predicate, said, PREDICATES + 1),
        ):
            size = ENTITIES * width
            low = torch.full((size,), 2.0).scatter_reduce(
                0, (inputs[anchor] * width + of_positive)[positive], affinity[positive], "amin")
            high = torch.full((size,), -1.0).scatter_reduce(
                0, (inputs[anchor] * width + of_negative)[~positive], affinity[~positive], "amax")
            both = (low < 1.5) & (high > -0.5)
            items = torch.relu(MARGIN - (low[both] - high[both]))
            total = total + LAMBDA[level] * items.sum() / (items.numel() + 1)
    return total


def timed(form, logits, inputs):
    start = time.perf_counter()
    (grad,) = torch.autograd.grad(form(logits, inputs), logits)
    return time.perf_counter() - start, grad


def main():
    inputs = case(7, ENTITIES, CLASSES, PREDICATES, 0.05)
    inputs = {k: v[:2048] for k, v in inputs.items()}
    tensors = {k: torch.tensor(v) for k, v in inputs.items()}
    logits = tensors["logits"].float().requires_grad_()
    loop = lambda z, i: sum(loop_form(z, i, "code"))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "pairs.json"
        path.write_text(json.dumps({"width": PREDICATES + 1, **{k: v.flatten().tolist() for k, v in inputs.items()}}))
        command = [ROOT / "target/release/examples/time_graphical_contrastive", str(path)]
        times = {"ours": [], "vectorised": [], "loop": []}
        for _ in range(ROUNDS):
            ours = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
            times["ours"].append(ours["seconds"])
            for name, form in (("vectorised", vectorised), ("loop", loop)):
                seconds, grad = min((timed(form, logits, tensors) for _ in range(3)), key=lambda t: t[0])
                times[name].append(seconds)
        value = vectorised(logits, tensors).item()
    assert abs(value - ours["value"]) < 1e-4 and abs(loop(logits, tensors).item() - value) < 1e-4
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in median.items():
        print(f"{name:12} {1e3 * seconds:8.3f} ms   {seconds / median['ours']:7.1f} x ours")


if __name__ == "__main__":
    main()
