"""What Python holds is data: images, arrays, pairs and data sets of torch; anything else is one sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from trine import Gallery
from trine.data import load
from trine.encoders import Encoder, EncoderRecipe, MlpSettings, SmallResNetSettings, build_encoder
from trine.errors import DataError, InputError, SettingError
from trine.evaluation import retrieval

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)
LABELS = [0, 0, 1, 1, 2, 2]
RECIPE = EncoderRecipe(
    dimension=4,
    image_size=8,
    small_resnet=SmallResNetSettings(width=8, blocks=(1,)),
    mlp=MlpSettings(hidden=()),
)


class Photos(Dataset[Any]):
    """As torchvision's folders are: images of Pillow and numbers, and the names of the classes."""

    classes = ("ann", "bob", "cid")

    def __init__(self, transform: Any = Image.fromarray) -> None:
        self.transform = transform
        self.reads = 0

    def __len__(self) -> int:
        return len(COLOURS)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.reads += 1
        if index == 4 and self.transform is None:
            raise OSError("the disk is gone")
        return (self.transform or Image.fromarray)(COLOURS[index]), LABELS[index]


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


PAIRED = {
    "dataset": Photos(),
    "tensors": Photos(to_tensor),
    "pairs": list(zip([*map(Image.fromarray, COLOURS)], LABELS, strict=True)),
    "columns": (COLOURS, np.array(LABELS)),
    "list and labels": ([*COLOURS], LABELS),
    "tensor dataset": TensorDataset(torch.from_numpy(COLOURS).permute(0, 3, 1, 2), torch.tensor(LABELS)),
}


@pytest.mark.parametrize("form", PAIRED)
def test_labelled_images(form: str) -> None:
    data, report = load(PAIRED[form])
    np.testing.assert_array_equal(np.stack([data.items[at] for at in range(6)]), COLOURS)
    assert data.identities == (("ann", "bob", "cid") if form in ("dataset", "tensors") else ("0", "1", "2"))
    assert data.labels.tolist() == LABELS
    assert data.names == tuple(f"item {at}" for at in range(6))
    assert (report.kind, report.items, report.identities) == ("images", 6, 3)
    np.testing.assert_array_equal(data.subset([3, 1]).items[0], COLOURS[3])


def test_each_item_is_read_once() -> None:
    photos = Photos()
    data, _ = load(photos)
    photos.reads = 0
    encoder = build_encoder(data.items, recipe=RECIPE)
    encoder.embed(data)
    assert photos.reads == 0


def test_a_part_of_a_data_set_keeps_the_names_of_its_classes() -> None:
    data, _ = load(Subset(Photos(), [5, 2, 3, 4]))
    assert data.identities == ("bob", "cid")
    assert data.labels.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (Image.fromarray(COLOURS[0]), 1),
        ([*map(Image.fromarray, COLOURS)], 6),
        (COLOURS[0], 1),
        (torch.from_numpy(COLOURS[0]).permute(2, 0, 1), 1),
        (COLOURS, 6),
        (COLOURS.transpose(0, 3, 1, 2), 6),
        ([*COLOURS], 6),
        (COLOURS[..., 0], 6),
        (Photos(), 6),
        (np.array([Image.fromarray(each) for each in COLOURS] + [None], dtype=object)[:6], 6),
    ],
)
def test_images_of_unknown_identity(given: Any, count: int) -> None:
    data, report = load(given, labelled=False)
    assert len(data) == count
    assert data.labels.tolist() == [-1] * count
    expected = COLOURS[..., :1] if getattr(given, "shape", ()) == (6, 9, 8) else COLOURS
    np.testing.assert_array_equal(data.items[count - 1], expected[count - 1])
    assert report.kind == "images"


def test_paths_with_labels(tmp_path: Path) -> None:
    for at, pixels in enumerate(COLOURS):
        Image.fromarray(pixels).save(tmp_path / f"{at}.png")
    data, _ = load([(tmp_path / f"{at}.png", f"id {label}") for at, label in enumerate(LABELS)])
    assert data.identities == ("id 0", "id 1", "id 2")
    np.testing.assert_array_equal(data.items[5], COLOURS[5])
    (tmp_path / "3.png").write_text("no picture")
    with pytest.raises(
        DataError, match=r"^6 images: 1 image that cannot be read: .*3\.png \(not an image\); fix"
    ):
        load([(str(tmp_path / f"{at}.png"), label) for at, label in enumerate(LABELS)])


def test_vectors() -> None:
    x = RANDOM.normal(size=(6, 5)).astype(np.float32)
    for given in (
        TensorDataset(torch.from_numpy(x), torch.tensor(LABELS)),
        (x, LABELS),
        (x, torch.tensor(LABELS)),
    ):
        data, _ = load(given)
        assert data.kind == "vectors"
        np.testing.assert_array_equal(np.stack([data.items[at] for at in range(6)]), x)
        assert data.labels.tolist() == LABELS
    encoder = build_encoder(data.items, recipe=RECIPE)
    np.testing.assert_array_equal(
        encoder.embed(TensorDataset(torch.from_numpy(x), torch.tensor(LABELS))), encoder.embed(x)
    )


def test_missing_labels_are_named() -> None:
    pairs = list(zip(COLOURS, ["ann", "ann", None, float("nan"), "bob", "bob"], strict=True))
    with pytest.raises(DataError, match=r"the list: 2 images without an identity: item 2, item 3; fix"):
        load(pairs)
    with pytest.raises(DataError, match=r"the label 0\.5 has a fraction, expected integers or strings"):
        load((COLOURS, [0.5, 1, 1, 0, 0, 0]))


def test_an_item_that_fails_is_named() -> None:
    with pytest.raises(
        DataError, match=r"1 image that cannot be read: item 4 \(damaged \(the disk is gone\)\); fix"
    ):
        load(Photos(None))
    bad = [Image.fromarray(COLOURS[0]), Image.new("F", (3, 3)), "nowhere.png", 7]
    with pytest.raises(
        DataError,
        match=r"3 images that cannot be read: item 1 \(floating-point.*item 2 \(nowhere.png: no s",
    ):
        load(bad, labelled=False)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from COLOURS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (iter([]), r"data cannot be of type list_iterator: expected a path or a name; an image of Pillow"),
        (None, r"data cannot be of type NoneType"),
        (3, r"data cannot be of type int"),
        ({1, 2}, r"data cannot be of type set"),
        (Stream(), r"data cannot be of type Stream"),
        (DataLoader(Photos()), r"data cannot be of type DataLoader, which gives batches: pass its"),
        (np.zeros((1, 2, 3, 4, 5)), r"data cannot be an array of shape \(1, 2, 3, 4, 5\), expected"),
        (np.float32(3), r"data cannot be of type float32"),
        (COLOURS[0].transpose(2, 0, 1), r"shape \(3, 9, 8\) may be one image, its channels first, or 3 grey"),
        ([], r"the list is empty, expected at least one item"),
        ([3, "a.png"], r"the list holds items that are not of one kind of data \(int, str\): e"),
    ],
)  # fmt: skip
def test_what_is_no_data(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(given, labelled=False)


def test_labels_are_asked_for_and_columns_refused() -> None:
    with pytest.raises(
        DataError, match=r"the list has no labels, expected pairs \(item, label\); load it with"
    ):
        load([*COLOURS])
    with pytest.raises(
        SettingError, match=r"label='who' names a column of a table, but the Photos is not a table"
    ):
        load(Photos(), label="who")
    with pytest.raises(SettingError, match=r"pattern='\{identity\}' reads the names of files"):
        load(Photos(), pattern="{identity}")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_encoder(load((COLOURS, LABELS))[0].items, recipe=RECIPE)


class TestEmbed:
    def test_every_form_of_six_pictures_gives_the_same_six_rows(self, encoder: Encoder) -> None:
        expected = encoder.embed(COLOURS)
        assert expected.shape == (6, 4)
        for form, given in PAIRED.items():
            np.testing.assert_array_equal(encoder.embed(given), expected, err_msg=form)
        for given in (
            [*COLOURS],
            [*map(Image.fromarray, COLOURS)],
            [*map(to_tensor, COLOURS)],
            COLOURS / 255,
        ):
            np.testing.assert_array_equal(encoder.embed(given), expected)

    def test_one_picture_is_one_row(self, encoder: Encoder, tmp_path: Path) -> None:
        image = Image.fromarray(COLOURS[2])
        image.save(tmp_path / "2.png")
        expected = encoder.embed(COLOURS[2:3])
        for one in (image, COLOURS[2], to_tensor(COLOURS[2]), tmp_path / "2.png", str(tmp_path / "2.png")):
            np.testing.assert_array_equal(encoder.embed(one), expected)
        assert encoder.embed(COLOURS[2, :, :, 0]).shape == (1, 4)

    def test_what_it_cannot_take(self, encoder: Encoder) -> None:
        with pytest.raises(InputError, match="may be one image, its channels first, or 3 grey images"):
            encoder.embed(COLOURS[0].transpose(2, 0, 1))
        with pytest.raises(InputError, match="data cannot be of type set"):
            encoder.embed({1, 2})
        with pytest.raises(InputError, match="data cannot be of type generator"):
            encoder.embed(each for each in COLOURS)
        with pytest.raises(InputError, match=r"^item 1 is an array of int64 with shape \(\)"):
            encoder.embed([COLOURS[0], 7])
        with pytest.raises(DataError, match=r"^1 image that cannot be read: nowhere\.png \(no such file\)$"):
            encoder.embed("nowhere.png")


def test_galleries_take_them_too(encoder: Encoder, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g.db", encoder=encoder, threshold=0.001) as gallery:
        gallery.enrol_dataset(Photos())
        gallery.enrol("dan", "portrait", content=Image.fromarray(255 - COLOURS[0]))
        assert gallery.identities() == {"ann": 2, "bob": 2, "cid": 2, "dan": 1}
        for probe in (Image.fromarray(COLOURS[2]), COLOURS[2], to_tensor(COLOURS[2])):
            assert gallery.identify(probe).identity == "bob"
            assert gallery.search(probe, k=1)[0].item == "item 2"
            assert gallery.verify(probe, COLOURS[2]).same
        answers = gallery.identify_many(Photos())
        assert [answer.identity for answer in answers] == ["ann", "ann", "bob", "bob", "cid", "cid"]
        with pytest.raises(InputError, match="data cannot be of type set"):
            gallery.enrol_dataset({1, 2})


def test_an_evaluation_takes_embeddings_and_says_so() -> None:
    with pytest.raises(InputError, match="embeddings"):
        retrieval([*map(Image.fromarray, COLOURS)], LABELS)
    with pytest.raises(InputError, match="embeddings"):
        retrieval(Photos(), LABELS)
