"""The instance metrics: ours against the numpy programs (one mask per instance), on pairs of label images of 512 x 512.

    python bench/instances.py [--pairs 20]

The numpy programs are those of the reference fixture; they take about a second a pair, so ours runs on 1,000 pairs' worth by repeats.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "crates/lossmith/tests/fixtures"))
import instances as programs  # noqa: E402


def pair(rng, side=512, count=16):
    truth = np.zeros((side, side), np.int64)
    y, x = np.mgrid[:side, :side]
    for i in range(count):
        cy, cx, r = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.05, 0.12) * side
        truth[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = i + 1
    _, truth = np.unique(truth, return_inverse=True)
    truth = truth.reshape(side, side)
    return truth, np.roll(truth, rng.integers(-8, 9, 2), (0, 1))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=20)
    options = options.parse_args()
    rng = np.random.default_rng(0)
    pairs = [pair(rng) for _ in range(options.pairs)]
    start = time.perf_counter()
    scores = [{**programs.corrected(p, t), **programs.matched(p, t)} for t, p in pairs]
    theirs = (time.perf_counter() - start) * 1e3
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "lossmith", "--example", "time_instances"], check=True, cwd=ROOT)
    with tempfile.TemporaryDirectory() as folder:
        for at, name in enumerate("tp"):
            np.stack([p[at] for p in pairs]).astype(np.uint32).tofile(f"{folder}/{name}")
        run = subprocess.run([ROOT / "target/release/examples/time_instances", f"{folder}/t", f"{folder}/p", str(512 * 512), "5"],
                             check=True, capture_output=True, env={**os.environ, "RAYON_NUM_THREADS": "1"})
    ours = json.loads(run.stdout)
    for name in ("sbd", "aji", "ap_dsb"):
        assert ours[name] == np.mean([s[name] for s in scores]), name
    ms = min(ours["ms"])
    print(f"{options.pairs} pairs of 512 x 512, one thread: ours {ms:.1f} ms, numpy {theirs:.0f} ms, {theirs / ms:.0f}x; the same scores to the last bit")


if __name__ == "__main__":
    main()
