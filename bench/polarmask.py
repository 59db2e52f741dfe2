"""PolarMask's network on the CPU: ours on Burn against the same network in PyTorch eager, one thread, processor time.

python3 bench/polarmask.py     (needs torch, torchvision)

ResNet-50 with fixed batch normalisation, FPN P3-P7 of 256 channels, two towers of four group-normalised convolutions; five
classes, 36 rays. A forward pass at 3 x 768 x 1280, and a training step (AdamW, gradients cut) of two pictures at 3 x 256 x 256.
Targets are made outside of PyTorch's step and inside of ours. Processor time, since wall time on a busy machine says nothing; of
ours it is that of four rounds less that of two, so that start and initialisation do not count.
"""

import os
import resource
import subprocess
import time

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

PROGRAM = os.environ.get("TIME_POLARMASK", "target/release/examples/time_polarmask")
torch.set_num_threads(1)


def tower():
    block = [[nn.Conv2d(256, 256, 3, padding=1, bias=False), nn.GroupNorm(32, 256), nn.ReLU()] for _ in range(4)]
    return nn.Sequential(*sum(block, []))


class PolarMask(nn.Module):
    def __init__(self, classes=5, rays=36):
        super().__init__()
        resnet = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
        self.body = IntermediateLayerGetter(resnet, {"layer2": "c3", "layer3": "c4", "layer4": "c5"})
        self.lateral = nn.ModuleList(nn.Conv2d(c, 256, 1) for c in (512, 1024, 2048))
        self.smooth = nn.ModuleList(nn.Conv2d(256, 256, 3, padding=1, stride=s) for s in (1, 1, 1, 2, 2))
        self.class_tower, self.mask_tower = tower(), tower()
        self.classes, self.even = nn.Conv2d(256, classes, 3, padding=1), nn.Conv2d(256, 1, 3, padding=1)
        self.mask = nn.Conv2d(256, rays, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(5))

    def forward(self, x):
        merged = [lateral(c) for lateral, c in zip(self.lateral, self.body(x).values(), strict=True)]
        for i in (1, 0):
            merged[i] = merged[i] + F.interpolate(merged[i + 1], size=merged[i].shape[-2:])
        levels = [smooth(m) for smooth, m in zip(self.smooth, merged)]
        levels.append(self.smooth[3](levels[-1]))
        levels.append(self.smooth[4](levels[-1].relu()))
        out = []
        for level, scale in zip(levels, self.scales, strict=True):
            said, rays = self.class_tower(level), self.mask_tower(level)
            out.append((self.classes(said), self.even(said), (self.mask(rays) * scale).exp()))
        return [torch.cat([o[i].flatten(2).transpose(1, 2) for o in out], 1) for i in range(3)]


def theirs(work):
    work()
    start = time.process_time()
    for _ in range(2):
        work()
    return (time.process_time() - start) / 2


def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(what, width, height, batch):
    def run(rounds):
        start = spent()
        command = [PROGRAM, what, "resnet50", str(width), str(height), str(batch), str(rounds)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "RAYON_NUM_THREADS": "1"})
        return spent() - start

    few = run(2)
    return (run(4) - few) / 2


def main():
    torch.manual_seed(0)
    net = PolarMask()
    wide, small = torch.randn(1, 3, 768, 1280), torch.randn(2, 3, 256, 256)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5)
    points = sum((256 // s) ** 2 for s in (8, 16, 32, 64, 128))
    labels = (torch.rand(2, points, 5) < 0.01).float()
    chosen, rays = torch.randint(points, (2, 20)), torch.rand(2, 20, 36) * 60 + 4
    weight = (rays.amin(-1) / rays.amax(-1)).sqrt()

    def forward():
        with torch.no_grad():
            net(wide)

    def step():
        classes, even, said = net(small)
        said = said.gather(1, chosen[..., None].expand(-1, -1, 36))
        iou = torch.log(torch.maximum(said, rays).sum(-1) / torch.minimum(said, rays).sum(-1))
        loss = torchvision.ops.sigmoid_focal_loss(classes, labels).sum() / 42 + (iou * weight).sum() / weight.sum()
        loss = loss + F.binary_cross_entropy_with_logits(even[..., 0].gather(1, chosen), weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()

    for what, work, size in (("step", step, (256, 256, 2)), ("forward", forward, (1280, 768, 1))):
        mine, peer = ours(what, *size), theirs(work)
        print(f"{what:8} ours {mine:6.2f} s, PyTorch {torch.__version__} {peer:6.2f} s, ratio {peer / mine:.2f}", flush=True)


main()
