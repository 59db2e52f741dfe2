"""What the polar form can hold at best: ground truth as rays and back, scored by pycocotools.

python3 bench/polar_upper_bound.py ../shared/data/coco/instances_val2014_100.json   (needs numpy, opencv, pycocotools)

Exact outlines are drawn by COCO's rule; those of the published procedure with truncated corners and filled border, by OpenCV.
"""

import contextlib
import io
import json
import os
import subprocess
import sys

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

PROGRAM = os.environ.get("POLAR_OUTLINES", "target/release/examples/polar_outlines")
CASES = [(n, "exact", "mass") for n in (18, 24, 36, 72, 120)] + [(36, "exact", "box"), (36, "published", "mass")]


def mask_of(outline, size, procedure):
    if procedure == "exact":
        return coco_mask.frPyObjects([np.ravel(outline).tolist()], *size)[0]
    h, w = size
    corners = np.clip(np.array(outline), 0, [w - 1, h - 1]).astype(np.int32)
    canvas = np.zeros(size, np.uint8)
    cv2.drawContours(canvas, [corners[:, None]], -1, 1, -1)
    return coco_mask.encode(np.asfortranarray(canvas))


def figures(truth, outlines, procedure):
    size = {i["id"]: (i["height"], i["width"]) for i in truth.dataset["images"]}
    results = [
        {"image_id": o["image_id"], "category_id": o["category_id"], "score": 1.0,
         "segmentation": mask_of(o["outline"], size[o["image_id"]], procedure)}
        for o in outlines
    ]
    objects = [a for a in truth.dataset["annotations"] if not a["iscrowd"]]
    pairs = zip(results, objects, strict=True)
    ious = [coco_mask.iou([r["segmentation"]], [truth.annToRLE(a)], [0])[0, 0] for r, a in pairs]
    evaluation = COCOeval(truth, truth.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.mean(ious), [100 * evaluation.stats[i] for i in (0, 1, 2, 3, 4, 5)]


if "POLAR_OUTLINES" not in os.environ:
    build = ["cargo", "build", "--release", "-q", "-p", "lossmith", "--example", "polar_outlines"]
    subprocess.run(build, check=True)
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(sys.argv[1])
print("rays  procedure  centre  mean IoU    AP  AP50  AP75     S     M     L")
for rays, procedure, centre in CASES:
    command = [PROGRAM, sys.argv[1], str(rays), procedure, centre]
    outlines = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    with contextlib.redirect_stdout(io.StringIO()):
        iou, stats = figures(truth, outlines, procedure)
    print(f"{rays:4}  {procedure:9}  {centre:6}  {iou:8.3f}  " + " ".join(f"{v:5.1f}" for v in stats))
