"""Whatever picture or folder comes in: the right value or one sentence, soon, and in little memory."""

import os
import re
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from support.effort import effort
from support.pictures import Layout, Picture, layouts, pictures
from trine.data import ImageArray, ImageFiles, LoadPolicy, decode, load
from trine.display import printable
from trine.encoders import Encoder, EncoderRecipe, SmallResNetSettings, build_encoder
from trine.errors import DataError

tried = settings(max_examples=effort(60, 2000), suppress_health_check=list(HealthCheck))
SKIP = LoadPolicy("skip", "skip", "skip", "skip", "skip", "skip")
KEEP = LoadPolicy("skip", "keep", "keep", "keep", "skip", "keep")


def kibibytes(key: str) -> int:
    status = Path("/proc/self/status")
    found = re.search(rf"{key}:\s+(\d+)", status.read_text() if status.exists() else "")
    return 0 if found is None else int(found[1])


class Bounds:
    """Measures examples."""

    def __init__(self) -> None:
        self.slowest, self.most = (0.0, ""), (0, "")

    def measure(self, about: str, do):
        with suppress(OSError):  # a mark on the peak of memory is Linux's
            Path("/proc/self/clear_refs").write_text("5")
        before, start = kibibytes("VmRSS"), time.monotonic()
        try:
            return do()
        finally:
            self.slowest = max(self.slowest, (time.monotonic() - start, about))
            self.most = max(self.most, (kibibytes("VmHWM") - before, about))


@pytest.fixture
def bounds():
    """At most 10 s and 1 GiB for each example."""
    measured = Bounds()
    yield measured
    print(f"slowest: {measured.slowest}; most KiB: {measured.most}")
    assert measured.slowest[0] < 10
    assert measured.most[0] < 1 << 20


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    recipe = EncoderRecipe(dimension=4, image_size=16, small_resnet=SmallResNetSettings(width=8, blocks=(1,)))
    return build_encoder(ImageArray(np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)), recipe=recipe)


def sentence(error: DataError, path: Path) -> str:
    """An error's sentence, as the command line prints it, without the path that it begins with."""
    said = printable(error.with_options())
    assert said.startswith(str(path))
    rest = said.replace(str(path), "")
    assert len(rest) > 10
    assert not re.search(r"[\n\x1b]|Error|Traceback|Errno", rest)
    rest.encode()
    return rest


@tried
@given(picture=pictures())
def test_a_picture_is_read_rightly_or_refused_in_one_sentence(
    bounds, encoder: Encoder, tmp_path_factory, picture: Picture
):
    path = tmp_path_factory.getbasetemp() / f"picture.{picture.suffix}"
    path.write_bytes(picture.content)

    def read():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return decode(path)
            except DataError as error:
                return sentence(error, path)

    pixels = bounds.measure(picture.about, read)
    event("refused" if isinstance(pixels, str) else "read")
    if isinstance(pixels, str):
        assert picture.pixels is None or max(picture.pixels.shape) > 65_535, pixels
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] in (1, 3)
    assert 0 not in pixels.shape
    if picture.pixels is not None:
        np.testing.assert_array_equal(pixels, picture.pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row = bounds.measure(f"embedded: {picture.about}", lambda: encoder.embed(path))
    assert np.isfinite(row).all()


@tried
@given(layout=layouts(), policy=st.sampled_from([LoadPolicy(), SKIP, KEEP]), labelled=st.booleans())
def test_a_folder_is_read_rightly_or_refused_in_one_sentence(
    bounds, tmp_path_factory, layout: Layout, policy: LoadPolicy, labelled: bool
):
    root = tmp_path_factory.mktemp("layout")
    values = layout.make(root)

    def read():
        try:
            return load(root, policy=policy, labelled=labelled)
        except DataError as error:
            return sentence(error, root)

    found = bounds.measure(str(layout), read)
    event("refused" if isinstance(found, str) else "read")
    if isinstance(found, str):
        return
    data, report = found
    str(report).encode()
    assert len(set(data.names)) == len(data)
    assert isinstance(data.items, ImageFiles)
    for at, path in enumerate(data.items.paths):
        assert data.items[at].ravel().tolist() == [values[os.path.realpath(path)]] * 6
        name = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
        assert re.sub(r" \(item \d+\)$", "", data.names[at]) == name
        parts = name.split("/")
        if labelled:
            assert data.identity(at) == parts["split" in data.columns]
