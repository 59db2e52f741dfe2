"""Rank correlation of the fitness of candidates trained with bf16 and with f32 products.

    cargo build --release --bin lossmith
    python3 bench/precision_ranking.py target/release/lossmith DATA [--net mlp] [--steps 300] [--count 50] [--nudge] [--set KEY=VALUE]

The candidates are formulas that a search (genetic programming, f32, short trainings of mlp) trained: all different ones, in the order
of their fitness, evenly picked from the worst to the best. Each is trained with both precisions from the same weights on the
same batches (seed 0), and again from others (seed 1). Printed are Spearman's correlations of their accuracies: bf16 with f32 at
the same seed, and, as what a change of nothing but luck does, f32 with f32 at another seed; over all candidates, and over
those that learn (above 0.2 in f32). With --nudge they are also trained in f32 at a learning rate that is larger by a millionth, which
says how much of a difference is the training's own chaos.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import tempfile
import tomllib
from pathlib import Path

SEARCH = ["search.population=200", "search.generations=8", "search.steps=100", "search.savings.redraws=20",
          "search.savings.raw_predictions=true", "search.confirm=1", "search.confirm_seeds=1", "train.steps=100",
          "train.eval_every=100", "cma_es.generations=0", "compare.seeds=2", "compare.tune_rate=false"]


def candidates(lossmith, data, count, folder):
    """Different formulas of a search, from the worst to the best."""
    settings = [argument for setting in SEARCH for argument in ("--set", setting)]
    command = [lossmith, "search", "classifier", "--data", data, "--out", folder, *settings]
    subprocess.run(command, check=True, capture_output=True)
    fitness = {}
    with sqlite3.connect(folder / "study.db") as study:
        rows = study.execute("SELECT trial, outcome FROM trial WHERE outcome IS NOT NULL ORDER BY stage, place")
        for trial, outcome in rows:
            trial, outcome = json.loads(trial), json.loads(outcome)
            if trial["part"] == "validation" and outcome["end"] == "done":
                fitness.setdefault(trial["loss"], outcome["accuracy"])
    named = ("cross-entropy", "baikal", "baikal-cma")
    ordered = sorted((loss for loss in fitness if loss not in named), key=fitness.get)
    if len(ordered) < count:
        raise SystemExit(f"the search trained {len(ordered)} different formulas only, {count} are wanted")
    return [ordered[round(i * (len(ordered) - 1) / (count - 1))] for i in range(count)]


def accuracies(lossmith, data, losses, precision, arguments, folder, *more):
    """For each loss, its accuracy at both seeds."""
    settings = ["compare.tune_rate=false", f"train.eval_every={arguments.steps}", *arguments.set, *more]
    command = [lossmith, "compare", "classifier", "--data", data, "--losses", ",".join(losses), "--net", arguments.net,
               "--steps", str(arguments.steps), "--seeds", "2", "--precision", precision, "--out", folder, "--json"]
    command += [argument for setting in settings for argument in ("--set", setting)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"  {precision}: {json.loads((folder / 'run.json').read_text())['arithmetic']}", flush=True)
    found = {measured["loss"]: measured["values"] for measured in result["losses"]}
    return [found[loss] for loss in found]


def ranks(values):
    order = sorted(range(len(values)), key=lambda i: values[i])
    result = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for i in order[start:end]:
            result[i] = (start + end - 1) / 2
        start = end
    return result


def spearman(a, b):
    return statistics.correlation(ranks(a), ranks(b))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lossmith")
    parser.add_argument("data")
    parser.add_argument("--net", default="mlp")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--nudge", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    lossmith = str(Path(arguments.lossmith).resolve())
    data = str(Path(arguments.data).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        losses = candidates(lossmith, data, arguments.count, folder / "search")
        print(f"{arguments.net}, {arguments.steps} steps, {len(losses)} formulas of a search", flush=True)
        f32 = accuracies(lossmith, data, losses, "f32", arguments, folder / "f32")
        others = {"bf16": accuracies(lossmith, data, losses, "bf16", arguments, folder / "bf16")}
        if arguments.nudge:
            rate = tomllib.loads((folder / "f32" / "recipe.toml").read_text())["train"]["rate"] * (1 + 1e-6)
            nudge = accuracies(lossmith, data, losses, "f32", arguments, folder / "nudged", f"train.rate={rate!r}")
            others["f32 at a rate nudged"] = nudge
    learn = [i for i, (first, _) in enumerate(f32) if first > 0.2]
    for name, picked in [("all", range(len(f32))), ("those that learn", learn)]:
        column = lambda values, seed: [values[i][seed] for i in picked]
        print(f"{name} ({len(picked)}), f32 accuracy {min(column(f32, 0)):.3f} to {max(column(f32, 0)):.3f}")
        for what, seed in [(what, seed) for what in others for seed in (0, 1)]:
            other = column(others[what], seed)
            away = [abs(a - b) for a, b in zip(other, column(f32, seed))]
            print(f"  {what} with f32, seed {seed}: {spearman(other, column(f32, seed)):.3f}"
                  f"  (accuracies apart: median {statistics.median(away):.4f}, at most {max(away):.4f})")
        away = [abs(a - b) for a, b in zip(column(f32, 0), column(f32, 1))]
        print(f"  f32 with f32, seeds 0 and 1: {spearman(column(f32, 0), column(f32, 1)):.3f}"
              f"  (accuracies apart: median {statistics.median(away):.4f}, at most {max(away):.4f})", flush=True)


if __name__ == "__main__":
    main()
