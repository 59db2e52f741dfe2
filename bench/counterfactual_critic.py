"""Times the exact counterfactual critic against one graph evaluation, the published shortcut and the naive sum.

No public implementation of CMAT is known, so the peers are our own oracle and the paper's way of cutting the sum.
Usage: python bench/counterfactual_critic.py [SECONDS PER SETTING]
"""
import json
import subprocess
import sys

command = ["cargo", "run", "--release", "-q", "-p", "lossmith", "--example", "critic_speed", "--", *sys.argv[1:2]]
rows = [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()]
heads = ["policy", "agents", "reward", "graph_ms", "exact_ms", "survivors", "exact_per_graph", "shortcut_per_exact",
         "naive_from_logits_per_exact"]
print("  ".join(f"{h:>12}" for h in heads))
for row in rows:
    print("  ".join(f"{row[h]:>12}" for h in heads))
