"""Samples per second of the fitness engine and of PyTorch eager, interleaved, on the same network and batch.

    cargo build --release -p lossmith-nets --example fitness
    python bench/fitness.py [--rounds 5] [--bf16] [--one] [mlp lenet alexnet-cifar]

Ours: two candidates on two threads, and one candidate on two. PyTorch: one process with two threads, and two processes
with one thread each; the better of the two medians is the peer. Ratios are taken round by round, so that what else the
machine does weighs on both sides. The second column is samples per second of processor time, which is steady on a busy
machine; only the first says how well two threads are used. With --bf16 PyTorch trains under bf16 autocast, and ours with both
precisions. With --one both sides get one thread in one process, for a machine with one core to spare.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / "target" / "release" / "examples" / "fitness"
# Network: batch, image side, channels, steps of ours, steps of PyTorch.
SETTINGS = {"mlp": (100, 28, 1, 4000, 1500), "lenet": (100, 28, 1, 60, 60), "alexnet-cifar": (128, 32, 3, 40, 40)}


def network(name, nn):
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    pool = lambda: nn.MaxPool2d(2, 2)
    if name == "lenet":
        return nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), pool(), nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), pool(),
            nn.Flatten(), nn.Linear(3136, 1024), nn.ReLU(), nn.Dropout(0.4), nn.Linear(1024, 10))
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 5), nn.ReLU(), pool(), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool(),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), pool(), nn.Flatten(), nn.Linear(256, 10))


def torch_worker(name, threads, bf16):
    """Trains and prints samples per second; waits for a line on stdin, so that several start together."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    batch, side, channels, _, steps = SETTINGS[name]
    images = torch.randn(5000, channels, side, side)
    labels = torch.randint(0, 10, (5000,))
    net = network(name, nn)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    order = torch.randperm(5000)

    def train(steps):
        for step in range(steps):
            picked = order[step * batch % (5000 - batch):][:batch]
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(net(images[picked]), labels[picked])
            loss.backward()
            optimizer.step()

    train(5)
    print("ready", flush=True)
    sys.stdin.readline()
    start, processor = time.perf_counter(), time.process_time()
    train(steps)
    samples = steps * batch
    print(samples / (time.perf_counter() - start), samples / (time.process_time() - processor), flush=True)


def torch_rate(name, processes, threads, bf16):
    command = [sys.executable, __file__, "--worker", name, str(threads), str(int(bf16))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    workers = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    rates = [[float(rate) for rate in worker.communicate()[0].split()] for worker in workers]
    return sum(clock for clock, _ in rates), statistics.mean(processor for _, processor in rates)


def our_rate(name, candidates, precision, threads):
    batch, side, channels, steps, _ = SETTINGS[name]
    command = [OURS, name, *map(str, (batch, steps, candidates, side, channels)), precision]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return tuple(float(rate) for rate in output.split())


def main():
    if sys.argv[1:2] == ["--worker"]:
        return torch_worker(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["mlp", "lenet"], choices=[*SETTINGS, []])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--one", action="store_true")
    arguments = parser.parse_args()
    precisions = ["f32", "bf16"] if arguments.bf16 else ["f32"]
    threads, numbers, ways = (1, [1], [(1, 1)]) if arguments.one else (2, [2, 1], [(1, 2), (2, 1)])
    kinds = {
        f"lossmith {p}, {count(c, 'candidate')}": lambda n, c=c, p=p: our_rate(n, c, p, threads)
        for p in precisions for c in numbers
    }
    peers = {
        f"PyTorch, {count(p, 'process')} x {count(t, 'thread')}": lambda n, p=p, t=t: torch_rate(n, p, t, arguments.bf16)
        for p, t in ways
    }
    ours, theirs = list(kinds), list(peers)
    kinds |= peers
    for name in arguments.networks:
        rounds = [{kind: rate(name) for kind, rate in kinds.items()} for _ in range(arguments.rounds)]
        print(f"{name}, batch {SETTINGS[name][0]}: samples per second, median of {arguments.rounds} rounds (least to most)")
        print(f"  {'':33} {'by the clock':>28} {'per processor second':>28}")
        for kind in kinds:
            print(f"  {kind:33} {spread(r[kind][0] for r in rounds):>28} {spread(r[kind][1] for r in rounds):>28}")
        for column, what in enumerate(["by the clock", "per processor second"]):
            peer = max(theirs, key=lambda kind: statistics.median(r[kind][column] for r in rounds))
            for kind in ours:
                ratio = statistics.median(r[kind][column] / r[peer][column] for r in rounds)
                print(f"  {kind} : {peer}, {what} = {ratio:.2f}", flush=True)
            if arguments.bf16:
                rounded = ours[len(numbers)]
                ratio = statistics.median(r[rounded][column] / r[ours[0]][column] for r in rounds)
                print(f"  {rounded} : {ours[0]}, {what} = {ratio:.2f}", flush=True)


def count(number, what):
    return f"{number} {what}" + ("" if number == 1 else "es" if what.endswith("s") else "s")


def spread(rates):
    rates = sorted(rates)
    return f"{statistics.median(rates):.0f} ({rates[0]:.0f} to {rates[-1]:.0f})"


if __name__ == "__main__":
    main()
