"""The Visual Genome protocol on generated input of the size of its test set: lossmith against the published algorithm in numpy.

    cargo build --release --workspace --test catalogue --example time_relations
    python bench/relations.py [images]      (25000 images of 64 boxes, all 4032 pairs, 50 predicates, unless told otherwise)

Ours: crates/lossmith/examples/time_relations.rs, all images, on all threads, and on one. The peer: the evaluation of neural-motifs as its
description says (sort all, compare all triplets with the truth, overlap of the matches, in numpy), per image, on the first images of
the same input, whose hits must agree. Rounds are interleaved.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOXES, SHOWN, ROUNDS, CUTS = 64, 6, 5, (20, 50, 100)


def iou(box, boxes):
    w = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0]) + 1
    h = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1]) + 1
    shared = np.maximum(w, 0) * np.maximum(h, 0)
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    return shared / ((box[2] - box[0] + 1) * (box[3] - box[1] + 1) + area - shared)


def hits(image, pairs, predicates):
    """The relations that the first 20, 50, 100 of a ranked list cover."""
    boxes, labels = image["boxes"], image["labels"]
    triplets = np.column_stack([labels[pairs[:, 0]], predicates, labels[pairs[:, 1]]])
    s, o, p = image["relations"].T
    truth = np.column_stack([labels[s], p, labels[o]])
    same = (truth[:, None, :] == triplets[None, :, :]).all(2)
    covered_at = [[] for _ in range(len(triplets))]
    for row in np.where(same.any(1))[0]:
        at = np.where(same[row])[0]
        fit = (iou(boxes[s[row]], boxes[pairs[at, 0]]) >= 0.5) & (iou(boxes[o[row]], boxes[pairs[at, 1]]) >= 0.5)
        for rank in at[fit]:
            covered_at[rank].append(row)
    return [len(set().union(*covered_at[:k])) for k in CUTS]


def evaluate(image):
    scores = image["predicates"][:, 1:]
    best = scores.max(1)
    order = np.argsort(-best, kind="stable")
    constraint = hits(image, image["pairs"][order], scores.argmax(1)[order] + 1)
    first = np.argsort(-scores.ravel(), kind="stable")[:100]
    pair, predicate = np.unravel_index(first, scores.shape)
    return [constraint, hits(image, image["pairs"][pair], predicate + 1)]


def ours(images, dump=0, threads=None):
    environment = dict(os.environ, **({"RAYON_NUM_THREADS": str(threads)} if threads else {}))
    command = [ROOT / "target/release/examples/time_relations", str(images), str(BOXES)] + ([str(dump)] if dump else [])
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main():
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 25_000
    dumped = ours(SHOWN, SHOWN)["dumped"]
    for image in dumped:
        image["boxes"], image["labels"] = np.array(image["boxes"], float), np.array(image["labels"])
        image["pairs"] = np.array(image["pairs"])
        image["predicates"] = np.array(image["predicates"]).reshape(len(image["pairs"]), -1)
        image["relations"] = np.array([[r["subject"], r["object"], r["predicate"]] for r in image["relations"]])
        assert evaluate(image) == image["hits"], "the peer and lossmith find different relations"
    times = {"one": [], "all": [], "numpy": []}
    for _ in range(ROUNDS):
        times["one"].append(ours(256, threads=1)["seconds"] / 256)
        times["all"].append(ours(256)["seconds"] / 256)
        start = time.perf_counter()
        for image in dumped:
            evaluate(image)
        times["numpy"].append((time.perf_counter() - start) / len(dumped))
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"numpy        {1e3 * median['numpy']:8.3f} ms an image")
    for name in ("one", "all"):
        print(f"ours, {name:4} thr. {1e3 * median[name]:6.3f} ms an image   {median['numpy'] / median[name]:6.1f} x faster")
    whole = ours(images)
    print(f"{images} images of {BOXES} boxes: {whole['seconds']:.1f} s of evaluation, peak memory {whole['peak_mb']} MB")


if __name__ == "__main__":
    main()
