"""The recipe `characters` in small: characters never seen are found again better than by their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.paths import SHARED_DATA
from trine.data import Dataset, ImageArray
from trine.evaluation import retrieval
from trine.training import fit, load_recipe

DRAWINGS = SHARED_DATA / "glyphs_omniglot/omniglot_dev.npz"
SMALL = {
    "encoder.image_size": 20,
    "encoder.small_resnet.width": 8,
    "sampler.identities": 16,
    "training.steps": 80,
    "training.threads": 1,
}


def test_characters_never_seen_are_found_again(tmp_path: Path) -> None:
    if not DRAWINGS.is_file():
        pytest.skip("real data glyphs_omniglot is not beside the checkout")
    file = np.load(DRAWINGS, allow_pickle=False)
    few = np.flatnonzero(file["y"] < 40)
    pixels = (
        np.unpackbits(file["x"][few], axis=1)[:, :11025].reshape(-1, 35, 3, 35, 3).mean(axis=(2, 4)) * 255
    )
    names = tuple(f"drawing {at}" for at in few)
    data = Dataset(
        ImageArray(pixels.astype(np.uint8)), file["y"][few].astype(np.int64), tuple(file["names"][:40]), names
    )
    recipe = load_recipe("characters", overrides=SMALL)
    assert recipe.augment.turn_identities == 0.75, "so that the four ways to turn a character are alike often"
    encoder = fit(data.subset(np.flatnonzero(data.labels < 28)), recipe, out=tmp_path / "run", progress=False)
    unseen = data.subset(np.flatnonzero(data.labels >= 28))
    plain = pixels[data.labels >= 28].reshape(len(unseen), -1)
    found = retrieval(encoder.embed(unseen), unseen.labels).map_at_r
    assert found > retrieval(plain, unseen.labels).map_at_r + 0.05
