"""How well are faces found, told apart, named and clustered without any training?

Folds 1 to 5 of Labeled Faces in the Wild: its crops of 112 × 112 pixels as they are, and each pasted into a
grey scene of 640 × 480 so that the face is 20 to 224 pixels wide, at a place and size drawn at random; then
detection, alignment and embedding, as `trine faces` and `trine enrol` do them. A pair with a face that is
not found counts as wrong. Galleries have 20 or 100 random people with 1 or 5 pictures each, and the
threshold that they choose for themselves for strangers at 1 %; all others are strangers. Clusters are of
people with at least 5 pictures: each method is set on half of them and measured on the others. Group photos
of 1280 × 960 hold 2 to 12 faces, 30 to 200 pixels wide, and lie on any side without a note of it; they are
timed on one core and on two. The pipeline of face_recognition (dlib's detector, five landmarks and network)
sees the first 300 pairs of scenes. deepface fetches its weights when it runs, and is not compared.

    OMP_NUM_THREADS=1 python benchmarks/faces_pretrained.py ../shared/data/faces_lfw    # a quarter of an hour

With names of parts after the folder (crops, groups, scenes) only these run, and nothing is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import torch
from sklearn.cluster import DBSCAN, HDBSCAN

from results import keep
from trine.clustering import cluster
from trine.data import read_pairs
from trine.data.image_decoding import decode
from trine.data.parallel import in_threads
from trine.distances import pairwise_distances
from trine.encoders import load
from trine.encoders.bundled_weights import bundled_path
from trine.evaluation import verification
from trine.evaluation.cluster_threshold import choose_cluster_threshold
from trine.evaluation.clustering import clustering_from_assignment
from trine.faces import Face, FaceDetector, aligned
from trine.io import package_file
from trine.rates import stranger_rates

FAR, FPIR = 0.001, 0.01
GALLERIES = 100
PEERS = 300
GROUPS = 100
WEIGHTS = "package:face-recognition-models"
FACE_SHARE = 0.7  # of the width of a crop

Photo = np.ndarray
Lines = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Pictures:
    """Pictures of people, and the official pairs of them."""

    names: list[str]
    people: np.ndarray
    pairs: np.ndarray
    fold: np.ndarray
    same: np.ndarray


@dataclass(frozen=True)
class Rows:
    """One embedding a picture; NaN where no face was found."""

    rows: np.ndarray
    milliseconds: tuple[float, float]  # to find a face, to embed it

    @property
    def found(self) -> np.ndarray:
        return np.isfinite(self.rows[:, 0])


def read(folder: Path) -> Pictures:
    table = read_pairs(folder / "pairs.csv")
    names = sorted(
        {*table.a, *table.b}
        | {str(p.relative_to(folder / "images")) for p in (folder / "images").glob("*/*.jpg")}
    )
    at = {name: place for place, name in enumerate(names)}
    people = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    pairs = np.array([[at[a], at[b]] for a, b in zip(table.a, table.b, strict=True)])
    return Pictures(names, people, pairs, np.asarray(table.fold), np.asarray(table.same, dtype=bool))


def scene(crop: Photo, random: np.random.Generator) -> tuple[Photo, float]:
    """The crop in a grey scene, and about how wide the face is."""
    width = float(np.exp(random.uniform(np.log(20), np.log(224))))
    side = round(width / FACE_SHARE)
    photo = np.full((480, 640, 3), 128, dtype=np.uint8)
    smooth = cv2.INTER_AREA if side < 112 else cv2.INTER_CUBIC
    top, left = random.integers(0, 481 - side), random.integers(0, 641 - side)
    photo[top : top + side, left : left + side] = cv2.resize(crop, (side, side), interpolation=smooth)
    return photo, width


def group(crops: Sequence[Photo], random: np.random.Generator) -> tuple[Photo, np.ndarray]:
    """Several faces on a grey photo, and the middle and side of each crop."""
    photo = np.full((960, 1280, 3), 128, dtype=np.uint8)
    taken: list[tuple[float, float, int]] = []
    wanted = random.integers(2, 13)
    while len(taken) < wanted:
        side = round(float(np.exp(random.uniform(np.log(30), np.log(200)))) / FACE_SHARE)
        top, left = random.integers(0, 961 - side), random.integers(0, 1281 - side)
        if any(
            abs(top + side / 2 - y) < (side + s) / 2 and abs(left + side / 2 - x) < (side + s) / 2
            for x, y, s in taken
        ):
            continue
        crop = crops[int(random.integers(len(crops)))]
        smooth = cv2.INTER_AREA if side < 112 else cv2.INTER_CUBIC
        photo[top : top + side, left : left + side] = cv2.resize(crop, (side, side), interpolation=smooth)
        taken.append((left + side / 2, top + side / 2, side))
    return photo, np.array(taken)


def turned(photo: Photo, places: np.ndarray, quarters: int) -> tuple[Photo, np.ndarray]:
    """A photo with its faces, turned counterclockwise."""
    for _ in range(quarters):
        places = np.stack([places[:, 1], photo.shape[1] - places[:, 0], places[:, 2]], 1)
        photo = np.rot90(photo)
    return np.ascontiguousarray(photo), places


def of_groups(crops: Sequence[Photo], _: Pictures, detector: FaceDetector, encoder: Any) -> Lines:
    """Which faces of group photos are found, whichever way the photos lie, and how long that takes."""
    for quarters, name in enumerate(("upright", "a quarter", "upside down", "three quarters")):
        faces = found = extra = 0
        for place in range(GROUPS):
            photo, places = turned(*group(crops, np.random.default_rng([2, place])), quarters)
            boxes = np.array(
                [[f.box[0] + f.box[2] / 2, f.box[1] + f.box[3] / 2] for f in detector.detect(photo)]
            )
            near = np.abs(boxes.reshape(-1, 1, 2) - places[None, :, :2]).max(2) < places[:, 2] / 2
            faces, found, extra = faces + len(places), found + near.any(0).sum(), extra + (~near.any(1)).sum()
        yield (
            {
                "pictures": f"{GROUPS} group photos, {name}",
                "found": round(float(found / faces), 4),
                "faces": faces,
                "where there is none": int(extra),
            }
        )
    photos = [group(crops, np.random.default_rng([2, place]))[0] for place in range(GROUPS)]

    def cut(place: int) -> list[Photo]:
        return [aligned(photos[place], face) for face in detector.detect(photos[place])]

    threads = torch.get_num_threads()
    for cores in (1, 2):
        torch.set_num_threads(cores)
        start = time.perf_counter()
        cropped = [crop for crops in in_threads(cut, GROUPS, threads=cores) for crop in crops]
        middle = time.perf_counter()
        encoder.embed(np.stack(cropped))
        ends = time.perf_counter()
        yield (
            {
                "pictures": f"group photos, {cores} core{'s'[: cores - 1]}",
                "ms a photo, to find": round(1e3 * (middle - start) / GROUPS, 1),
                "ms a face, to embed": round(1e3 * (ends - middle) / len(cropped), 1),
            }
        )
    torch.set_num_threads(threads)


def embedded(photos: Sequence[Photo] | Any, count: int, detector: FaceDetector, encoder: Any) -> Rows:
    rows = np.full((count, 128), np.nan, dtype=np.float32)
    crops, places, spent = [], [], [0.0, 0.0]
    for place in range(count):
        photo = photos(place)
        start = time.process_time()
        faces = detector.detect(photo)
        if faces:
            crops.append(aligned(photo, central(faces, photo)))
            places.append(place)
        spent[0] += time.process_time() - start
        if len(crops) == 256 or place == count - 1:
            start = time.process_time()
            if crops:
                rows[places] = encoder.embed(np.stack(crops))
            spent[1] += time.process_time() - start
            crops, places = [], []
    return Rows(rows, (1e3 * spent[0] / count, 1e3 * spent[1] / count))


def central(faces: Sequence[Face], photo: Photo) -> Face:
    """The face that a picture is of: large and near the middle; in a scene there is one."""
    middle = np.array(photo.shape[1::-1]) / 2

    def rank(face: Face) -> float:
        x, y, width, height = face.box
        return face.size - float(np.abs(np.array([x + width / 2, y + height / 2]) - middle).max())

    return max(faces, key=rank)


def accuracy(rows: Rows, pictures: Pictures, chosen: np.ndarray | None = None) -> dict[str, float]:
    """The official protocol; a pair without both faces is wrong. The interval is over people."""
    found = rows.found[pictures.pairs].all(1)
    chosen = np.ones(len(found), bool) if chosen is None else chosen
    used = found & chosen
    several = len(np.unique(pictures.fold[used])) > 1
    report = verification(
        np.nan_to_num(rows.rows), pictures.people, pairs=pictures.pairs[used], same=pictures.same[used],
        fold=pictures.fold[used] if several else None,
    )  # fmt: skip
    share = used.sum() / chosen.sum()
    if not several:
        return {"accuracy": round(float(report.accuracy_at(report.best_threshold()) * share), 4)}
    interval = report.interval("accuracy")
    return {
        "accuracy": round(float((report.accuracy or 0) * share), 4),
        "low": round(float(interval.low * share), 4),
        "high": round(float(interval.high * share), 4),
        "pairs with both faces": round(float(share), 4),
    }


def verified(rows: Rows, pictures: Pictures) -> dict[str, float]:
    """The true-accept rate over all pairs of the faces that were found."""
    found = rows.found
    report = verification(rows.rows[found], pictures.people[found], max_pairs=None)
    interval = report.interval("tar_at_far", FAR)
    return {
        "TAR at FAR 0.1 %": round(report.tar_at_far(FAR), 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }


def galleries(rows: Rows, pictures: Pictures, people: int, each: int) -> dict[str, Any]:
    """Random galleries with their own thresholds: who is named, among the enrolled and among strangers."""
    random = np.random.default_rng(people + each)
    x = torch.from_numpy(rows.rows[rows.found]).double()
    labels = pictures.people[rows.found]
    distances = pairwise_distances(x, x).float().numpy()
    sizes = np.bincount(labels)
    usable = np.flatnonzero(sizes > each)
    lines = []
    for _ in range(GALLERIES):
        inside = random.permutation(usable)[:people]
        enrolled = np.concatenate(
            [random.permutation(np.flatnonzero(labels == who))[:each] for who in inside]
        )
        probes = np.setdiff1d(np.flatnonzero(np.isin(labels, inside)), enrolled)
        others = np.flatnonzero(~np.isin(labels, inside))
        own = distances[np.ix_(enrolled, enrolled)].copy()
        own[labels[enrolled][:, None] == labels[enrolled]] = np.inf
        rates = stranger_rates(
            own.min(1).astype(float),
            labels[enrolled],
            nearest=labels[enrolled][own.argmin(1)],
            scale=people / (people - 1),
        )
        chosen = rates.smallest(FPIR)
        near = distances[np.ix_(probes, enrolled)]
        right = labels[enrolled][near.argmin(1)] == labels[probes]
        weights = 1 / np.bincount(labels[probes])[labels[probes]]  # each person counts once
        strangers = stranger_rates(distances[np.ix_(others, enrolled)].min(1).astype(float), labels[others])
        line = {"rank 1": np.average(right, weights=weights)}
        if chosen is not None:
            threshold, promise = chosen
            line |= {
                "rate": promise.rate,
                "DIR": np.average(right & (near.min(1) <= threshold), weights=weights),
            }
            line["FPIR"] = strangers.at(threshold)[0]
        at_one = strangers.limits[np.searchsorted(strangers.estimate, FPIR, side="right") - 1]
        line["DIR at FPIR 1 %"] = np.average(right & (near.min(1) <= at_one), weights=weights)
        lines.append(line)
    found: dict[str, Any] = {"people": people, "pictures": each}
    for name in ("rank 1", "rate", "DIR", "FPIR", "DIR at FPIR 1 %"):
        values = [line[name] for line in lines if name in line]
        low, high = np.quantile(values, [0.025, 0.975])
        found[name] = f"{np.mean(values):.3f} ({low:.3f} to {high:.3f})"
    return found


def clusters(rows: Rows, pictures: Pictures) -> dict[str, str]:
    """BCubed F of people with at least five pictures, each method with its best settings on other people."""
    random = np.random.default_rng(0)
    labels = np.where(rows.found, pictures.people, -1)
    many = random.permutation(np.flatnonzero(np.bincount(labels[labels >= 0]) >= 5))
    parts = [np.flatnonzero(np.isin(labels, half)) for half in np.array_split(many, 2)]
    (x, known), (y, other) = ((rows.rows[part].astype(np.float64), labels[part]) for part in parts)

    def score(assigned: np.ndarray, truth: np.ndarray) -> str:
        alone = np.where(assigned < 0, assigned.max() + 1 + np.arange(len(assigned)), assigned)
        report = clustering_from_assignment(alone, truth)
        low, high = (report.interval("bcubed_f").low, report.interval("bcubed_f").high)
        return f"{report.bcubed_f:.3f} ({low:.3f} to {high:.3f})"

    def best(methods: Sequence[Any]) -> str:
        fitted = max(methods, key=lambda method: float(score(method.fit_predict(x), known).split()[0]))
        return score(fitted.fit_predict(y), other)

    chosen = choose_cluster_threshold(x, known)
    linkage = chosen.linkage_for(len(y))
    ours = cluster(y, threshold=chosen.at(len(y), linkage), method=linkage)
    return {
        "people": str(len(np.unique(other))),
        "pictures": str(len(y)),
        "trine": score(np.asarray(ours), other),
        "DBSCAN": best([
            DBSCAN(eps=eps, min_samples=m) for eps in np.linspace(0.2, 1.0, 33) for m in (2, 3, 5)
        ]),
        "HDBSCAN": best([
            HDBSCAN(min_cluster_size=m, min_samples=s, cluster_selection_method=how, copy=True)
            for m in (2, 3, 5) for s in (1, 2, 3) for how in ("eom", "leaf")
        ]),
    }  # fmt: skip


def peer(photo: Callable[[int], Photo], pictures: Pictures, places: Sequence[int]) -> Rows:
    """The pipeline of face_recognition: dlib's detector, its five landmarks, its network."""
    shape = dlib.shape_predictor(str(package_file(
        "face_recognition_models", "models/shape_predictor_5_face_landmarks.dat",
        package="face-recognition-models", extra="faces",
    )))  # fmt: skip
    network = dlib.face_recognition_model_v1(str(bundled_path(WEIGHTS, network="face_resnet")))
    detect = dlib.get_frontal_face_detector()
    rows = np.full((len(pictures.names), 128), np.nan, dtype=np.float32)
    spent = [0.0, 0.0]
    for place in places:
        image = photo(place)
        start = time.process_time()
        boxes = detect(image, 1)
        spent[0] += time.process_time() - start
        if boxes:
            start = time.process_time()
            largest = max(boxes, key=lambda box: box.area())
            rows[place] = network.compute_face_descriptor(image, shape(image, largest))
            spent[1] += time.process_time() - start
    return Rows(rows, (1e3 * spent[0] / len(places), 1e3 * spent[1] / len(places)))


def summarised(tables: Sequence[dict[str, Any]]) -> dict[str, str]:
    """One line for each row of the table."""
    summary = {}
    for line in tables:
        words = {name: value for name, value in line.items() if name not in ("people", "pictures")}
        about = str(line.get("pictures", ""))
        if "rank 1" in line:
            about = f"galleries of {line['people']} people with {line['pictures']} pictures each"
        elif "DBSCAN" in line:
            about = f"BCubed F, {line['pictures']} pictures of {line['people']} people"
        what = next(iter(words))
        summary[f"{about}: {what}"] = ", ".join(f"{name} {value}" for name, value in words.items())
    return summary


def of_crops(crops: Sequence[Photo], pictures: Pictures, detector: FaceDetector, encoder: Any) -> Lines:
    """The crops as they are: accuracy, galleries, clusters."""
    plain = embedded(lambda place: crops[place], len(crops), detector, encoder)
    yield {"pictures": "crops", **accuracy(plain, pictures), "found": round(float(plain.found.mean()), 4)}
    yield {"pictures": "crops", **verified(plain, pictures)}
    yield {"pictures": "crops", "ms": [round(value, 1) for value in plain.milliseconds]}
    for people in (20, 100):
        for each in (1, 5):
            yield galleries(plain, pictures, people, each)
    yield clusters(plain, pictures)


def of_scenes(crops: Sequence[Photo], pictures: Pictures, detector: FaceDetector, encoder: Any) -> Lines:
    """Each crop in a scene: all pairs, by the width of the smaller face, and beside face_recognition."""

    def in_scene(place: int) -> Photo:
        return scene(crops[place], np.random.default_rng([1, place]))[0]

    count = len(crops)
    widths = np.array([scene(crops[0], np.random.default_rng([1, place]))[1] for place in range(count)])
    rows = embedded(in_scene, count, detector, encoder)
    yield {"pictures": "scenes", **accuracy(rows, pictures), "found": round(float(rows.found.mean()), 4)}
    yield {"pictures": "scenes", **verified(rows, pictures)}
    yield {"pictures": "scenes", "ms": [round(value, 1) for value in rows.milliseconds]}
    smaller = widths[pictures.pairs].min(1)
    for low, high in ((20, 30), (30, 40), (40, 60), (60, 112), (112, 224)):
        chosen = (smaller >= low) & (smaller < high)
        each = (widths >= low) & (widths < high)
        yield {
            "pictures": f"scenes, the smaller face {low} to {high} pixels",
            "pairs": int(chosen.sum()),
            **accuracy(rows, pictures, chosen),
            "found": round(float(rows.found[each].mean()), 4),
        }
    first = np.zeros(len(pictures.pairs), bool)
    first[:: len(first) // PEERS] = True
    places = np.unique(pictures.pairs[first]).tolist()
    theirs = peer(in_scene, pictures, places)
    for name, one in (("trine", rows), ("face_recognition", theirs)):
        yield {
            "pictures": f"{int(first.sum())} pairs of scenes, {name}",
            **accuracy(one, pictures, first),
            "found": round(float(one.found[places].mean()), 4),
            "ms": [round(value, 1) for value in one.milliseconds],
        }


PARTS = {"crops": of_crops, "groups": of_groups, "scenes": of_scenes}


def main() -> None:
    folder, asked = Path(sys.argv[1]), sys.argv[2:] or list(PARTS)
    pictures = read(folder)
    crops = [decode(folder / "images" / name) for name in pictures.names]
    detector, encoder = FaceDetector(), load(WEIGHTS)
    tables: list[dict[str, Any]] = []
    for part in asked:
        for line in PARTS[part](crops, pictures, detector, encoder):
            tables.append(line)
            print(line, flush=True)
    if len(asked) == len(PARTS):
        keep(
            "faces_pretrained", str(__doc__), rows=tables, summary=summarised(tables), arguments=sys.argv[1:]
        )


if __name__ == "__main__":
    main()
