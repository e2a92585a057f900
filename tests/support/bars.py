"""Two small runs on pictures of bars, and what they left, read back."""

import json

import numpy as np

from support.page_reader import check_page
from trine.data import Dataset, ImageArray
from trine.pipelines import train_run
from trine.training import load_recipe

EVIL = "<script>alert(1)</script>"


def bars(identities=8, items=8, evil=False):
    """Pictures of bars, one direction for each identity."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 16)
    pictures, labels = [], np.repeat(np.arange(identities), items)
    for label in labels:
        angle = np.pi * label / identities
        wave = np.sin(12 * (np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]))
        pictures.append(128 + 90 * wave * random.uniform(0.3, 1) + random.normal(0, 60, (16, 16)))
    pixels = np.array(pictures).clip(0, 255).astype(np.uint8)
    names = tuple(f"{EVIL if evil else 'bar'} {i}" for i in range(len(labels)))
    kinds = tuple(f"{EVIL if evil else 'kind'} & {i}" for i in range(identities))
    return Dataset(ImageArray(pixels), labels, kinds, names, root="bars")


def trained(data, out, **settings):
    defaults = {"training.steps": "12", "data.split": "stratified", "data.test": "0.5"}
    recipe = load_recipe(None, overrides=defaults | settings)
    return train_run(data, recipe, out=out, progress=False)


def two_runs(root):
    """Trains two runs, a and b, on the same split of the same bars; returns the data."""
    data = bars()
    trained(data, root / "a")
    trained(data, root / "b", **{"training.steps": "1", "loss.mining": "hard"})
    return data


def read(folder):
    return check_page((folder / "report.html").read_text(encoding="utf-8"))


def stored(folder):
    return json.loads((folder / "metrics.json").read_text())
