"""Clustering of embeddings: ours against a numpy form of the paper's mean-shift, HDBSCAN and scikit-learn's MeanShift.

    python bench/clustering.py [--pixels 60000] [--dim 16] [--threads 1] [--sklearn]

Sixteen Gaussian clusters whose centres are 3 apart, 3 % of the pixels on lines between centres. Prints milliseconds of processor time
(by the clock with more than one thread) and SBD; of ours it is that of 60 rounds less that of 20, so that reading the file does not count. HDBSCAN
takes seconds, MeanShift(bin_seeding) minutes at 60,000 pixels: it runs only when asked for. Needs numpy, scikit-learn.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent


def scene(pixels, dim, rng):
    centres = []
    while len(centres) < 16:
        c = rng.uniform(-5, 5, dim)
        if all(np.linalg.norm(c - o) >= 3 for o in centres):
            centres.append(c)
    centres = np.array(centres)
    truth = np.sort(rng.integers(0, 16, pixels))
    x = centres[truth] + rng.normal(size=(pixels, dim)) * 0.3 / np.sqrt(dim)
    stray = rng.random(pixels) < 0.03
    other = centres[rng.integers(0, 16, pixels)]
    share = rng.random((pixels, 1))
    x[stray] = (share * centres[truth] + (1 - share) * other)[stray]
    return x.astype(np.float32), truth + 1


def paper(x, bandwidth=1.5, seed=0):
    """Mean-shift from a random unlabelled point, until 100 are left; squared distances by norms, as a fast numpy form has them."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(x), int)
    left = np.arange(len(x))
    label = 0
    while len(left) > 100:
        own = x[left]
        mean = own[rng.integers(len(own))]
        for _ in range(100):
            within = ((own - mean) ** 2).sum(1) < bandwidth**2
            new = own[within].mean(0)
            done = np.linalg.norm(new - mean) <= 1e-4
            mean = new
            if done:
                break
        within = ((own - mean) ** 2).sum(1) < bandwidth**2
        label += 1
        labels[left[within]] = label
        left = left[~within]
    return drop_small(labels)


def drop_small(labels, least=20):
    sizes = np.bincount(labels)
    return np.where(sizes[labels] >= least, labels, 0)


def sbd(a, b):
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    dice = 2 * table / np.maximum(table.sum(1)[:, None] + table.sum(0)[None], 1)
    dice = dice[1:, 1:]
    rows, columns = table[1:].sum(1) > 0, table[:, 1:].sum(0) > 0
    return min(dice[rows].max(1).mean(), dice[:, columns].max(0).mean())


def timed(work, clock):
    start = clock()
    labels = work()
    return (clock() - start) * 1e3, labels


def of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(folder, sizes, threads):
    def run(rounds):
        start = of_children()
        command = [ROOT / "target/release/examples/time_clustering", f"{folder}/x", *map(str, (*sizes, rounds)), f"{folder}/l"]
        said = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "RAYON_NUM_THREADS": str(threads)})
        return min(json.loads(said.stdout)), of_children() - start

    (wall, many), (_, few) = run(60), run(20)
    return wall if threads > 1 else (many - few) / 40 * 1e3


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--pixels", type=int, default=60_000)
    options.add_argument("--dim", type=int, default=16)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--sklearn", action="store_true")
    options = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    x, truth = scene(options.pixels, options.dim, np.random.default_rng(0))
    subprocess.run(["cargo", "build", "--release", "-q", "--workspace", "--example", "time_clustering"], check=True, cwd=ROOT)
    with tempfile.TemporaryDirectory() as folder:
        x.T.copy().tofile(f"{folder}/x")
        ms, labels = ours(folder, (options.dim, 1, len(x)), options.threads), np.fromfile(f"{folder}/l", np.uint32).astype(int)
    clock = time.perf_counter if options.threads > 1 else time.process_time
    results = {"ours": (ms, labels)}
    results["numpy, the paper's"] = min((timed(lambda: paper(x, seed=s), clock) for s in range(5)), key=lambda r: r[0])
    first = ms
    from sklearn.cluster import HDBSCAN

    cluster = HDBSCAN(min_cluster_size=50, cluster_selection_epsilon=0.5, n_jobs=options.threads, copy=True)
    results["HDBSCAN"] = timed(lambda: cluster.fit_predict(x) + 1, clock)
    if options.sklearn:
        from sklearn.cluster import MeanShift

        results["MeanShift(bin_seeding)"] = timed(lambda: drop_small(MeanShift(bandwidth=1.5, bin_seeding=True).fit_predict(x) + 1), clock)
    print(f"{len(x)} pixels, E = {options.dim}, {options.threads} thread(s)")
    for name, (ms, labels) in results.items():
        print(f"{name:24} {ms:10.1f} ms  {ms / first:6.1f}x  SBD {sbd(labels, truth):.4f}, {len(np.unique(labels[labels > 0]))} instances")


if __name__ == "__main__":
    main()
