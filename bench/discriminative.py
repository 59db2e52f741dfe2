"""The discriminative loss, value and gradient: ours against three PyTorch forms on the same input.

    python bench/discriminative.py [--threads 1] [--repeats 7]

Prints medians of interleaved runs in milliseconds, and the ratio to the fastest PyTorch form. Needs torch and numpy.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent


def scene(channels, height, width, instances, kind, rng):
    """Leaf-like discs on background ("discs") or a random label per pixel ("noise"), and embeddings around centres."""
    if kind == "noise":
        labels = rng.integers(0, instances + 1, (height, width))
    else:
        labels = np.zeros((height, width), np.int64)
        y, x = np.mgrid[:height, :width]
        for i in range(instances):
            cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.1, 0.2) * height
            labels[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = i + 1
    centres = rng.normal(size=(instances + 1, channels)) * 1.5
    embedding = centres[labels] + rng.normal(size=(height, width, channels)) * 0.3
    return embedding.transpose(2, 0, 1).astype(np.float32).copy(), labels.astype(np.int64)


def terms(mu, var):
    count = len(mu)
    away = torch.cdist(mu, mu, compute_mode="donot_use_mm_for_euclid_dist") + 10 * torch.eye(count)
    dist = (torch.clamp(3 - away, min=0) ** 2).sum() / (count * (count - 1))
    return var / count + dist + 0.001 * mu.norm(dim=1).mean()


def foreground(x, labels):
    keep = labels.flatten() > 0
    _, ids = labels.flatten()[keep].unique(return_inverse=True)
    return x.flatten(1).T[keep], ids


def segment_sum(x, labels):
    rows, ids = foreground(x, labels)
    count = int(ids.max()) + 1
    sizes = torch.bincount(ids, minlength=count).float()
    mu = torch.zeros(count, x.shape[0]).index_add(0, ids, rows) / sizes[:, None]
    pull = torch.clamp((rows - mu[ids]).norm(dim=1) - 0.5, min=0) ** 2
    return terms(mu, (torch.zeros(count).index_add(0, ids, pull) / sizes).sum())


def per_instance(x, labels):
    flat, ids = x.flatten(1), labels.flatten()
    mus, var = [], 0
    for i in ids.unique():
        if i == 0:
            continue
        own = flat[:, ids == i]
        mus.append(own.mean(1))
        var = var + (torch.clamp((own - mus[-1][:, None]).norm(dim=0) - 0.5, min=0) ** 2).mean()
    return terms(torch.stack(mus), var)


def one_hot(x, labels):
    rows, ids = foreground(x, labels)
    hot = torch.nn.functional.one_hot(ids).float()
    sizes = hot.sum(0)
    mu = (hot[:, :, None] * rows[:, None, :]).sum(0) / sizes[:, None]
    pull = torch.clamp((rows[:, None, :] - mu[None]).norm(dim=2) - 0.5, min=0) ** 2
    return terms(mu, ((pull * hot).sum(0) / sizes).sum())


def timed(form, x, labels):
    x = x.requires_grad_()
    start = time.perf_counter()
    value = form(x, labels)
    (grad,) = torch.autograd.grad(value, x)
    return (time.perf_counter() - start) * 1e3, value.item(), grad.double().square().sum().item()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--repeats", type=int, default=7)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "lossmith", "--example", "time_discriminative"], check=True, cwd=ROOT)
    program = ROOT / "target/release/examples/time_discriminative"
    cases = [(16, 512, 512, 16, "discs"), (16, 512, 512, 16, "noise"), (8, 384, 768, 30, "discs"), (16, 256, 256, 16, "discs")]
    print(f"{options.threads} thread(s), ms, medians of {options.repeats} interleaved runs")
    for channels, height, width, instances, kind in cases:
        x, labels = scene(channels, height, width, instances, kind, np.random.default_rng(0))
        tx, tl = torch.from_numpy(x), torch.from_numpy(labels)
        with tempfile.TemporaryDirectory() as folder:
            x.tofile(f"{folder}/x")
            labels.tofile(f"{folder}/l")
            forms = {"segment": segment_sum, "loop": per_instance, "one-hot": one_hot}
            times = {name: [] for name in ["ours", "copy", *forms]}
            for repeat in range(options.repeats):
                sizes = [str(v) for v in (channels, height, width, 4)]
                run = subprocess.run([program, f"{folder}/x", f"{folder}/l", *sizes], check=True, capture_output=True,
                                     env={**os.environ, "RAYON_NUM_THREADS": str(options.threads)})
                ours = json.loads(run.stdout)
                # The first repeat of a process warms up, as the first of PyTorch does.
                times["ours"].append(min(ours["ms"][1:]))
                times["copy"].append(min(ours["copy_ms"][1:]))
                for name, form in forms.items():
                    if name == "one-hot" and repeat > 1:
                        continue  # tens of times slower: two runs tell enough
                    once = [timed(form, tx, tl) for _ in range(1 if name == "one-hot" else 3)]
                    times[name].append(min(t for t, _, _ in once))
                    assert abs(once[0][1] - ours["value"]) < 1e-4 * abs(ours["value"]), name
                    assert abs(once[0][2] - ours["grad_square"]) < 1e-3 * ours["grad_square"], name
        median = {name: statistics.median(t) for name, t in times.items()}
        fastest = min(median[name] for name in forms)
        row = "  ".join(f"{name} {t:.2f}" for name, t in median.items())
        print(f"{height}x{width}x{channels}, {instances} {kind}: {row}  | {fastest / median['ours']:.1f}x the fastest PyTorch form,"
              f" {median['ours'] / median['copy']:.2f}x the copies")


if __name__ == "__main__":
    main()
