"""Times the exact counterfactual critic against one graph evaluation, the published shortcut and the naive sum.

No public implementation of CMAT is known, so the peers are our own oracle and the paper's way of cutting the sum.
Usage: python bench/counterfactual_critic.py
"""
import subprocess
import tempfile

with tempfile.TemporaryDirectory() as folder:
    program = ["cargo", "run", "--release", "-q", "--bin", "lossmith", "--"]
    subprocess.run([*program, "reproduce", "cmat/speed", "--out", f"{folder}/run"], check=True)
