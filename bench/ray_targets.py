"""Ray targets of the 100 COCO images at 1280 x 768, two threads: ours against the published procedure.

python3 bench/ray_targets.py ../shared/data/coco/instances_val2014_100.json   (needs numpy, opencv, pycocotools)

The procedure is written anew from its description: mask, nearest resize, all contours, the largest, its centroid, points,
then for each positive point the integer-degree bins and 36 rays. Ours starts from the polygons, which is what a data
loader has; theirs is timed twice, from the polygons and from masks already made and resized.
"""

import subprocess
import sys
import time

import cv2
import numpy as np
from pycocotools.coco import COCO

WIDTH, HEIGHT = 1280, 768
LEVELS = ((8, -1, 64), (16, 64, 128), (32, 128, 256), (64, 256, 512), (128, 512, 1e8))
BUILD = ["cargo", "build", "--release", "-q", "-p", "lossmith", "--example", "time_ray_targets"]
OURS = ["target/release/examples/time_ray_targets", sys.argv[1], "21"]


def largest_contour(mask):
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=cv2.contourArea)[:, 0]


def mass_centre(pixels):
    x, y = pixels.T.astype(np.float64)
    cross = np.roll(x, 1) * y - x * np.roll(y, 1)
    if cross.sum() == 0:
        return np.trunc(pixels.mean(0))
    return np.trunc([((np.roll(v, 1) + v) * cross).sum() / (3 * cross.sum()) for v in (x, y)])


def rays(pixels, point):
    d = pixels - point
    degrees = np.degrees(np.arctan2(d[:, 0], d[:, 1]))
    degrees[degrees < 0] += 360
    bins, distance = degrees.astype(np.int64), np.sqrt((d * d).sum(1))
    found = []
    for ray in range(0, 360, 10):
        for near in (ray, ray + 1, ray - 1, ray + 2, ray - 2, ray + 3, ray - 3):
            here = distance[bins == near]
            if len(here):
                found.append(here.max())
                break
        else:
            found.append(1e-6)
    return found


def image_targets(masks, boxes):
    if not masks:
        return 0
    pixels = [largest_contour(m) for m in masks]
    centres = np.array([mass_centre(p) for p in pixels])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    positives = 0
    for stride, least, most in LEVELS:
        xs = np.arange(0, WIDTH, stride) + stride // 2
        ys = np.arange(0, HEIGHT, stride) + stride // 2
        points = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 1, 2)
        near = (np.abs(points - centres) < 1.5 * stride).all(2)
        sides = np.concatenate([points - boxes[:, :2], boxes[:, 2:] - points], 2)
        furthest = sides.max(2)
        fits = near & (sides > 0).all(2) & (furthest >= least) & (furthest <= most)
        cost = np.where(fits, areas, np.inf)
        owner = cost.argmin(1)
        for index in np.flatnonzero(np.isfinite(cost.min(1))):
            rays(pixels[owner[index]], points[index, 0])
            positives += 1
    return positives


coco = COCO(sys.argv[1])
start, prepared = time.perf_counter(), []
for image in coco.loadImgs(coco.getImgIds()):
    objects = coco.loadAnns(coco.getAnnIds(image["id"], iscrowd=False))
    scale = np.array([WIDTH / image["width"], HEIGHT / image["height"]] * 2)
    boxes = np.array([o["bbox"] for o in objects]).reshape(-1, 4) * scale
    boxes[:, 2:] += boxes[:, :2]
    masks = [cv2.resize(coco.annToMask(o), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) for o in objects]
    prepared.append((masks, boxes))
masks_time = time.perf_counter() - start
start = time.perf_counter()
positives = sum(image_targets(*image) for image in prepared)
theirs = time.perf_counter() - start

subprocess.run(BUILD, check=True)
ours, our_positives = subprocess.run(OURS, check=True, capture_output=True, text=True).stdout.split()
ours = float(ours)
print(f"lossmith {ours * 1e3:.1f} ms ({our_positives} points)   published procedure {theirs * 1e3:.0f} ms from masks"
      f" ({positives} points), {(theirs + masks_time) * 1e3:.0f} ms from polygons"
      f"   ratio {theirs / ours:.0f} and {(theirs + masks_time) / ours:.0f}")
