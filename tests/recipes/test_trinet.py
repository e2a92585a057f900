"""TriNet in small: a quarter of the people, smaller pictures and few steps; people are found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import SHARED_DATA
from trine.data import load
from trine.pipelines import train_run
from trine.training import load_recipe

PEOPLE = SHARED_DATA / "reid_cuhk01"
SMALL = {
    "data.train_identities": "[1-90]",
    "data.test_identities": "[386-425]",
    "encoder.image_size": "[48, 18]",
    "encoder.small_resnet.width": 16,
    "training.steps": 120,
    "training.threads": 1,
}


def test_people_are_found_on_the_other_camera_where_pixels_find_nobody(tmp_path: Path) -> None:
    if not PEOPLE.is_dir():
        pytest.skip("real data reid_cuhk01 is not beside the checkout")
    few = tmp_path / "few"
    few.mkdir()
    for path in PEOPLE.glob("*.jpg"):
        if int(path.name[:4]) <= 90 or 386 <= int(path.name[:4]) <= 425:
            (few / path.name).symlink_to(path)
    data, _ = load(few, pattern="{identity}_c{camera}_{*}")
    report = train_run(data, load_recipe("trinet", overrides=SMALL), out=tmp_path / "run", progress=False)
    assert str(report.part) == "test part (160 items of 40 identities; unseen identities)"
    assert report.before is not None
    before, after = report.before.identification, report.after.identification
    assert before is not None
    assert after is not None
    assert len(after.probes) == 160
    assert before.cmc(1) < 0.05
    assert after.cmc(1) > before.cmc(1) + 0.05
    assert after.mean_average_precision > 2 * before.mean_average_precision
    assert not report.doctor
