"""Training steps to the same best validation accuracy, with all savings of a search against none.

    python3 bench/search_savings.py target/release/lossmith DATA SEEDS [KEY=VALUE ...]

For each seed one search runs with every saving off and one with all on (the same population and generations). The goal is the lower one
of the two best validation accuracies (shortened training); counted are the training steps that each search had spent at the end of the
generation that reached it. Confirmation and comparison are not counted.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

NONE = {
    "cache": "false",
    "probe": "false",
    "equal_gradients": "off",
    "raw_predictions": "false",
    "redraws": "0",
    "floor_step": "0",
    "halving_steps": "0",
}
ALL = {
    "cache": "true",
    "probe": "true",
    "equal_gradients": "exact",
    "raw_predictions": "true",
    "redraws": "30",
    "floor_step": "15",
    "floor_accuracy": "0.15",
    "halving_steps": "10",
    "halving_share": "4",
}


def search(program, data, seed, savings, sets):
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        command = [program, "-q", "search", "classifier", "--data", data, "--seed", str(seed), "--out", str(run), "--json"]
        for key, value in savings.items():
            command += ["--set", f"search.savings.{key}={value}"]
        for assignment in sets:
            command += ["--set", assignment]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def steps_to(log, goal):
    spent = 0
    for generation in log:
        spent += generation["steps"]
        if generation["best"] >= goal:
            return spent
    return None


def counts(log):
    total = {}
    for generation in log:
        for kind in ("spared", "redrawn", "cut_short"):
            for reason, count in generation[kind].items():
                total[reason] = total.get(reason, 0) + count
    return total


program, data, seeds, sets = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
rows = []
for seed in range(1, seeds + 1):
    none, saved = (search(program, data, seed, savings, sets) for savings in (NONE, ALL))
    best = [run["log"][-1]["best"] for run in (none, saved)]
    goal = min(best)
    steps = [steps_to(run["log"], goal) for run in (none, saved)]
    rows.append((*best, *steps, none["steps"], saved["steps"]))
    print(
        f"seed {seed}: best {best[0]:.4f} without, {best[1]:.4f} with; steps to {goal:.4f}: {steps[0]} without, {steps[1]} with, "
        f"{steps[0] / steps[1]:.1f} times fewer; in all {none['steps']} and {saved['steps']}: {none['steps'] / saved['steps']:.1f}; "
        f"saved: {counts(saved['log'])}",
        flush=True,
    )
mean = [sum(column) / len(rows) for column in zip(*rows)]
print(
    f"mean of {len(rows)}: best {mean[0]:.4f} without, {mean[1]:.4f} with; steps to the same best {mean[2]:.0f} and {mean[3]:.0f}: "
    f"{mean[2] / mean[3]:.1f} times fewer; the same number of generations {mean[4]:.0f} and {mean[5]:.0f}: {mean[4] / mean[5]:.1f} times fewer"
)
