#!/usr/bin/env python3
"""Times value and gradient of softmax losses, ours against PyTorch eager (forward and backward) and against a copy of
the same bytes: same sizes, same number of threads, rounds interleaved, medians.

    cargo build --release -p lossmith --example class_loss_speed
    python3 bench/class_loss.py [--rows 1000000] [--classes 10] [--threads 2] [--rounds 7]

Needs torch. The program prints one line for every loss: our time, PyTorch's, the copy's, and the two ratios."""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOSSES = {
    "cross-entropy": lambda u, x, n: -(x * u).sum(-1).mean(),
    "baikal": lambda u, x, n: (-(u - x / u.exp()) / n).sum(-1).mean(),
    "-(log(y) - x/y)/n": lambda u, x, n: (-(u - x / u.exp()) / n).sum(-1).mean(),
    "tanh(x - y)*log(y) + exp(y)/sqrt(y + n)": lambda u, x, n: (
        torch.tanh(x - u.exp()) * u + torch.exp(u.exp()) / torch.sqrt(u.exp() + n)).sum(-1).mean(),
}


def torch_seconds(loss, logits, labels, repeats):
    """Seconds of one forward and backward pass, the one-hot label included, as emitted code does it."""
    start = time.perf_counter()
    for _ in range(repeats):
        logits.grad = None
        u = torch.log_softmax(logits, -1)
        x = torch.nn.functional.one_hot(labels, logits.shape[-1]).to(u.dtype)
        loss(u, x, float(logits.shape[-1])).backward()
    return (time.perf_counter() - start) / repeats


def torch_own_cross_entropy(logits, labels, repeats):
    """The same for PyTorch's own fused cross-entropy."""
    start = time.perf_counter()
    for _ in range(repeats):
        logits.grad = None
        torch.nn.functional.cross_entropy(logits, labels).backward()
    return (time.perf_counter() - start) / repeats


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    program = subprocess.Popen(
        [ROOT / "target/release/examples/class_loss_speed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        bufsize=1, env={**os.environ, "RAYON_NUM_THREADS": str(options.threads)})

    def ours(loss):
        program.stdin.write(f"{options.rows} {options.classes} {loss}\n")
        program.stdin.flush()
        return float(program.stdout.readline())

    logits = (3 * torch.sin(torch.arange(options.rows * options.classes) * 0.37)).reshape(options.rows, -1)
    logits.requires_grad_(True)
    labels = torch.arange(options.rows) * 7 % options.classes
    repeats = max(1, 200_000 // (options.rows * options.classes))
    print(f"{options.rows} x {options.classes}, {options.threads} threads, medians of {options.rounds} rounds, ms")
    print(f"{'loss':44} {'ours':>9} {'PyTorch':>9} {'copy':>9} {'PyTorch/ours':>13} {'ours/copy':>10}")
    for name, loss in LOSSES.items():
        times = {"ours": [], "torch": [], "copy": []}
        for _ in range(options.rounds):
            times["ours"].append(ours(name))
            times["torch"].append(min(torch_seconds(loss, logits, labels, repeats) for _ in range(2)))
            times["copy"].append(ours("copy"))
            if name == "cross-entropy":
                times.setdefault("own", []).append(min(torch_own_cross_entropy(logits, labels, repeats) for _ in range(2)))
        t = {k: 1e3 * statistics.median(v) for k, v in times.items()}
        line = f"{t['ours']:9.4f} {t['torch']:9.4f} {t['copy']:9.4f} {t['torch'] / t['ours']:13.1f} {t['ours'] / t['copy']:10.2f}"
        print(f"{name:44} {line}")
        if "own" in t:
            line = f"{t['ours']:9.4f} {t['own']:9.4f} {t['copy']:9.4f} {t['own'] / t['ours']:13.1f} {t['ours'] / t['copy']:10.2f}"
            print(f"{name + ' (against F.cross_entropy)':44} {line}")


if __name__ == "__main__":
    main()
