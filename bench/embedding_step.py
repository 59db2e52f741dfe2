"""Seconds per training step of the embedding network (forward, discriminative loss, backward, Adam), ours against the same
network in PyTorch eager with the segment-sum form of the loss, rounds interleaved, medians; two threads on both sides.

    cargo build --release --workspace --test catalogue --example time_embedding_step
    python3 bench/embedding_step.py [--rounds 5]

Needs torch.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, max_pool2d, relu

OURS = Path(__file__).resolve().parent.parent / "target/release/examples/time_embedding_step"
# Steps, batch, side, dimensions, widths: the laptop recipe, and one at 256 pixels.
SETTINGS = [(10, 4, 96, 8, (12, 24, 48, 64)), (5, 2, 256, 8, (16, 32, 64, 128))]


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x):
        return relu(self.second(relu(self.first(x))))


class Net(nn.Module):
    def __init__(self, dim, widths):
        super().__init__()
        self.down = nn.ModuleList(Block(a, b) for a, b in zip((6, *widths), widths))
        self.up = nn.ModuleList(Block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.embedding, self.foreground = nn.Conv2d(widths[0], dim, 1), nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        shortcuts = []
        for level, block in enumerate(self.down):
            if level:
                shortcuts.append(x)
                x = max_pool2d(x, 2)
            x = block(x)
        for block in self.up:
            x = block(torch.cat([interpolate(x, scale_factor=2), shortcuts.pop()], 1))
        return self.embedding(x), self.foreground(x)


def discriminative(embedding, labels, count):
    total = 0
    for x, ids in zip(embedding.flatten(2), labels.flatten(1)):
        inside = ids > 0
        x, ids = x[:, inside], ids[inside] - 1
        sizes = torch.zeros(count).index_add(0, ids, torch.ones(len(ids))).clamp(min=1)
        mu = torch.zeros(x.shape[0], count).index_add(1, ids, x) / sizes
        pull = relu((x - mu[:, ids]).norm(dim=0) - 0.5) ** 2
        variance = (torch.zeros(count).index_add(0, ids, pull) / sizes).mean()
        pairs = torch.triu_indices(count, count, 1)
        apart = relu(3.0 - (mu[:, pairs[0]] - mu[:, pairs[1]]).norm(dim=0)) ** 2
        total = total + variance + apart.mean() + 0.001 * mu.norm(dim=0).mean()
    return total / len(embedding)


def torch_seconds(steps, batch, side, dim, widths, count=12):
    net = Net(dim, widths)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    x = torch.randn(batch, 6, side, side)
    labels = torch.randint(0, count + 1, (batch, side // 8, side // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimiser.zero_grad()
        embedding, foreground = net(x)
        truth = (labels > 0).float()[:, None]
        (discriminative(embedding, labels, count) + binary_cross_entropy_with_logits(foreground, truth)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimiser.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(2)
    for steps, batch, side, dim, widths in SETTINGS:
        ours, theirs = [], []
        for _ in range(rounds):
            command = [OURS, *map(str, (steps, batch, side, dim, *widths))]
            ours.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            theirs.append(torch_seconds(steps, batch, side, dim, widths))
        ratio = statistics.median(t / o for o, t in zip(ours, theirs))
        print(f"{batch} x 5 x {side} x {side}, widths {widths}: lossmith {1e3 * statistics.median(ours):.1f} ms, "
              f"PyTorch {1e3 * statistics.median(theirs):.1f} ms, PyTorch / lossmith {ratio:.2f}")


if __name__ == "__main__":
    main()
