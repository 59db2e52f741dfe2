"""CMA-ES against pycma.

python3 bench/cma_es.py [DIMENSION]   seconds of ask + tell per generation, ours against pycma, interleaved medians
python3 bench/cma_es.py table         pycma's median evaluations, the figures in crates/lossmith-search/tests/cma_es.rs

Needs cma and numpy; builds the example itself.
"""

import statistics
import subprocess
import sys
import time

import cma
import numpy as np

BUILD = ["cargo", "build", "--release", "-q", "-p", "lossmith-search", "--example", "time_cma_es"]
OURS = "target/release/examples/time_cma_es"
QUIET = {"verbose": -9, "verb_log": 0, "verb_disp": 0}
TOLERANCES_OFF = {k: 0 for k in ("tolfun", "tolfunhist", "tolx", "tolfunrel")} | {
    "tolstagnation": 0, "tolflatfitness": 10**9, "tolconditioncov": False, "maxiter": 10**9, "tolfacupx": 1e99,
}
SEEDS = 21


def powers(d):
    return 10 ** (6 * np.arange(d) / (d - 1))


FUNCTIONS = {
    "sphere": lambda x: np.sum(x**2),
    "ellipsoid": lambda x: np.sum(powers(len(x)) * x**2),
    "cigar": lambda x: x[0] ** 2 + 1e6 * np.sum(x[1:] ** 2),
    "tablet": lambda x: 1e6 * x[0] ** 2 + np.sum(x[1:] ** 2),
    "cigtab": lambda x: x[0] ** 2 + 1e8 * x[-1] ** 2 + 1e4 * np.sum(x[1:-1] ** 2),
    "different powers": lambda x: np.sum(np.abs(x) ** (2 + 4 * np.arange(len(x)) / (len(x) - 1))),
    "rosenbrock": lambda x: np.sum(100 * (x[:-1] ** 2 - x[1:]) ** 2 + (1 - x[:-1]) ** 2),
}


def peer_seconds(dimension, generations):
    es = cma.CMAEvolutionStrategy(dimension * [1.0], 0.5, {"seed": 1, **QUIET, **TOLERANCES_OFF})
    f, spent = FUNCTIONS["ellipsoid"], 0.0
    for _ in range(generations):
        start = time.perf_counter()
        candidates = es.ask()
        spent += time.perf_counter() - start
        values = [f(x) for x in candidates]
        start = time.perf_counter()
        es.tell(candidates, values)
        spent += time.perf_counter() - start
    return spent / generations


def speed(dimension):
    subprocess.run(BUILD, check=True)
    ours, theirs = [], []
    for _ in range(5):
        theirs.append(peer_seconds(dimension, 300))
        ours.append(float(subprocess.run([OURS, str(dimension), "1000"], check=True, capture_output=True, text=True).stdout))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"ask + tell, d = {dimension}: lossmith {a * 1e6:.1f} us   pycma {cma.__version__} {b * 1e6:.0f} us   ratio {b / a:.0f}")


def evaluations(name, dimension, active, targets, seed):
    """Evaluations until the best value is at most each of the falling targets."""
    start = 0.0 if name == "rosenbrock" else 1.0
    options = {"seed": seed, "CMA_active": active, "maxfevals": 200_000, **QUIET, **TOLERANCES_OFF}
    es = cma.CMAEvolutionStrategy(dimension * [start], 0.5, options)
    reached = []
    while not es.stop() and len(reached) < len(targets):
        candidates = es.ask()
        es.tell(candidates, [FUNCTIONS[name](x) for x in candidates])
        while len(reached) < len(targets) and es.best.f <= targets[len(reached)]:
            reached.append(es.countevals)
    return reached


def table():
    targets = [1e-9, 1e-14]
    for dimension in (10, 20):
        for name in FUNCTIONS:
            for active in (True, False):
                runs = [evaluations(name, dimension, active, targets, seed) for seed in range(1, SEEDS + 1)]
                for i, target in enumerate(targets):
                    counts = [run[i] for run in runs if len(run) > i]
                    median = statistics.median_low(counts)
                    print(f"{name} d={dimension} active={active} {target:g}: {median} [{len(counts)}/{SEEDS}]", flush=True)


if sys.argv[1:] == ["table"]:
    table()
else:
    speed(int(sys.argv[1]) if sys.argv[1:] else 20)
