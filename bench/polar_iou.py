"""Polar IoU, value and gradient, 100,000 x 36, two threads: ours against PyTorch eager, interleaved medians.

python3 bench/polar_iou.py   (needs torch; builds the example itself)
"""

import statistics
import subprocess
import time

import torch

BUILD = ["cargo", "build", "--release", "-q", "-p", "lossmith", "--example", "time_polar_iou"]
OURS = ["target/release/examples/time_polar_iou", "7"]


def eager(p, t, w):
    p.grad = None
    start = time.perf_counter()
    each = torch.log(torch.maximum(p, t).sum(1) / torch.minimum(p, t).sum(1))
    ((each * w).sum() / w.sum()).backward()
    return time.perf_counter() - start


subprocess.run(BUILD, check=True)
torch.set_num_threads(2)
p = (torch.rand(100_000, 36) * 99 + 1).requires_grad_()
t, w = torch.rand(100_000, 36) * 99 + 1, torch.full((100_000,), 0.5)
ours, theirs = [], []
for _ in range(5):
    theirs.append(statistics.median(eager(p, t, w) for _ in range(7)))
    ours.append(float(subprocess.run(OURS, check=True, capture_output=True, text=True).stdout))
a, b = statistics.median(ours), statistics.median(theirs)
print(f"lossmith {a * 1e3:.2f} ms   PyTorch {torch.__version__} eager {b * 1e3:.2f} ms   ratio {b / a:.1f}")
