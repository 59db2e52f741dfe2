"""Writes a small file in the layout of VG-SGG.h5 (VG150 of Xu et al.) with its dictionary, as h5py writes it, to try the readers on.

    python3 bench/vg_sgg.py FOLDER [gzip]

5,280 training images, of which the reader keeps the first 5,000 with relations for validation, and 30 test images."""
import json, sys
from pathlib import Path
import h5py, numpy as np

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
TRAIN, TEST = 5280, 30
rng = np.random.default_rng(7)
boxes, labels, relations, predicates, first_box, last_box, first_rel, last_rel, split = ([] for _ in range(9))
for image in range(TRAIN + TEST):
    split.append(0 if image < TRAIN else 2)
    if image % 50 == 49:  # an image without boxes, as the real file has some
        for ends in (first_box, last_box, first_rel, last_rel):
            ends.append(-1)
        continue
    n = 3
    first_box.append(len(boxes))
    for k in range(n):
        size = rng.integers(21, 300, 2)
        centre = rng.integers(200, 800, 2)
        boxes.append([*centre, *size])
        labels.append([k % 4 + 1])
    last_box.append(len(boxes) - 1)
    if image % 50 == 48:  # boxes, but no relation
        first_rel.append(-1), last_rel.append(-1)
        continue
    first_rel.append(len(relations))
    relations += [[first_box[-1], first_box[-1] + 1], [first_box[-1], first_box[-1] + 2]]
    predicates += [[1], [2 if image % 3 else 3]]
    last_rel.append(len(relations) - 1)
with h5py.File(folder / "VG-SGG.h5", "w") as f:
    i32 = lambda name, values: f.create_dataset(name, data=np.array(values, dtype=np.int32), compression=sys.argv[2] if len(sys.argv) > 2 else None)
    i32("boxes_1024", boxes), i32("boxes_512", np.array(boxes) // 2)
    i32("labels", labels), i32("relationships", relations), i32("predicates", predicates)
    i32("img_to_first_box", first_box), i32("img_to_last_box", last_box)
    i32("img_to_first_rel", first_rel), i32("img_to_last_rel", last_rel), i32("split", split)
    f.create_dataset("active_object_mask", data=np.ones((len(boxes), 1), dtype=bool))
names = {"label_to_idx": {"person": 1, "glass": 2, "table": 3, "hat": 4}, "predicate_to_idx": {"holding": 1, "near": 2, "on": 3}}
for what in ("label", "predicate"):
    names[f"idx_to_{what}"] = {str(v): k for k, v in names[f"{what}_to_idx"].items()}
    names[f"{what if what != 'label' else 'object'}_count"] = {k: 1 for k in names[f"{what}_to_idx"]}
(folder / "VG-SGG-dicts.json").write_text(json.dumps(names))
