"""Checks what `lossmith search classifier --json` printed and the run folder that it left."""

import json
import pathlib
import sys

result = json.loads(pathlib.Path(sys.argv[1]).read_text())
run = pathlib.Path(sys.argv[2])

assert result["found"], "no loss was found"
assert 0.5 < result["fitness"] <= 1.0, f"fitness {result['fitness']}"
assert result["generations"] >= 1 and result["evaluations"] >= 1
comparison = result["comparison"]
losses = {loss["loss"] for loss in comparison["losses"]}
assert {"cross-entropy", "baikal", "baikal-cma"} < losses, losses
assert all(0.0 <= v <= 1.0 for loss in comparison["losses"] for v in loss["values"])
assert comparison["verdict"], "no verdict"
for name in ["recipe.toml", "study.db", "result.json", "report.html"]:
    assert (run / name).stat().st_size > 0, name
print(f"found {result['found']}: fitness {result['fitness']:.4f}; {comparison['verdict']}")
