"""Every kind of source, what is found in it, and the sentences about what is wrong."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.paths import SHARED_DATA
from support.pictures import grey_file
from trine.data import (
    ImageArray,
    ImageFiles,
    LoadPolicy,
    decode,
    has_identities,
    load,
    read_items,
    source_kind,
    split,
)
from trine.data.sources.builtin import fashion_mnist
from trine.errors import DataError, MissingDependencyError, SettingError


def real(name: str) -> Path:
    if not (SHARED_DATA / name).exists():
        pytest.skip(f"real data {name} is not beside the checkout")
    return SHARED_DATA / name


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for place, name in enumerate(["ann/2.png", "ann/10.png", "bob/1.png", "bob/film/3.png"]):
        grey_file(tmp_path / "people" / name, place)
    return tmp_path / "people"


class TestFolder:
    def test_folders_name_identities_and_order_is_natural(self, people: Path) -> None:
        data, report = load(people)
        assert data.names == ("ann/2.png", "ann/10.png", "bob/1.png", "bob/film/3.png")
        assert data.identities == ("ann", "bob")
        assert data.labels.tolist() == [0, 0, 1, 1]
        assert [int(data.items[i][0, 0, 0]) for i in range(4)] == [0, 1, 2, 3]
        assert str(report) == f"{people}: 4 images of 2 identities, 2 each"

    def test_other_files_are_counted_and_hidden_ones_are_not(self, people: Path) -> None:
        (people / "README").write_text("x")
        (people / "ann" / ".hidden.png").write_text("x")
        (people / ".cache").mkdir()
        (people / ".cache" / "a.png").write_text("x")
        for number in range(2):
            (people / "ann" / f"{number}.txt").write_text("x")
        for name in ("Thumbs.db", "ann/.DS_Store", "ann/desktop.ini", "__MACOSX/ann/._2.png", "@eaDir/2.png"):
            (people / name).parent.mkdir(parents=True, exist_ok=True)
            (people / name).write_text("x")
        data, report = load(people)
        assert report.notes == ("skipped: 3 files that are not images (2 .txt, 1 README)",)
        assert len(data) == 4

    def test_a_text_file_named_jpg_is_named(self, people: Path) -> None:
        (people / "ann" / "11.jpg").write_text("hello")
        (people / "bob" / "0.jpg").write_bytes(b"")
        with pytest.raises(
            DataError,
            match=r"2 images that cannot be read: ann/11\.jpg \(not an image\), "
            r"bob/0\.jpg \(an empty file\); fix the data, or skip such images with unreadable='skip'",
        ):
            load(people)
        data, report = load(people, policy=LoadPolicy(unreadable="skip"))
        assert len(data) == 4
        assert data.labels.tolist() == [0, 0, 1, 1]
        assert report.unreadable == ("ann/11.jpg (not an image)", "bob/0.jpg (an empty file)")
        assert "skipped: 2 images that cannot be read (ann/11.jpg" in str(report)

    def test_an_identity_of_which_nothing_can_be_read_is_gone(self, people: Path) -> None:
        (people / "aaa").mkdir()
        (people / "aaa" / "1.jpg").write_text("hello")
        data, _ = load(people, policy=LoadPolicy(unreadable="skip"))
        assert data.identities == ("ann", "bob")

    def test_a_long_list_is_cut_and_counted(self, people: Path) -> None:
        for number in range(10):
            (people / "ann" / f"x{number}.jpg").write_text("hello")
        with pytest.raises(DataError, match=r"10 images .*x0.*x1.*x2\.jpg \(not an image\) and 7 more;"):
            load(people)

    def test_too_large_pictures(self, people: Path) -> None:
        with pytest.raises(DataError, match=r"4 images .*\(larger than 11 pixels\)"):
            load(people, policy=LoadPolicy(max_pixels=11))
        data, _ = load(people, policy=LoadPolicy(max_pixels=12))
        assert len(data) == 4

    def test_one_file_under_two_names(self, people: Path) -> None:
        (people / "ann" / "link.png").symlink_to(people / "ann" / "2.png")
        with pytest.raises(DataError, match=r"listed more than once: ann/link\.png; .*duplicates='skip'"):
            load(people)
        data, report = load(people, policy=LoadPolicy(duplicates="skip"))
        assert len(data) == 4
        assert report.duplicates == ("ann/link.png",)
        data, report = load(people, policy=LoadPolicy(duplicates="keep"))
        assert len(data) == 5
        assert "kept: 1 image listed more than once (ann/link.png)" in str(report)

    def test_one_file_under_two_identities_is_trusted_under_neither(self, people: Path) -> None:
        (people / "bob" / "link.png").symlink_to(people / "ann" / "2.png")
        data, report = load(people, policy=LoadPolicy(duplicates="skip"))
        assert data.names == ("ann/10.png", "bob/1.png", "bob/film/3.png")
        assert report.duplicates == ("ann/2.png", "bob/link.png")

    def test_a_folder_that_links_to_itself_ends(self, people: Path) -> None:
        (people / "ann" / "again").symlink_to(people)
        assert len(load(people)[0]) == 4

    def test_repeated_content_is_named_and_kept(self, people: Path) -> None:
        grey_file(people / "ann" / "twin.png", 0)
        grey_file(people / "bob" / "twin.png", 0)
        data, report = load(people)
        assert len(data) == 6
        assert report.repeated == (("ann/twin.png", "ann/2.png"), ("bob/twin.png", "ann/2.png"))
        assert report.conflicting == (("bob/twin.png", "ann/2.png"),)
        assert "same content under another identity (bob/twin.png = ann/2.png)" in str(report)

    def test_pictures_outside_of_the_folders_have_no_identity(self, people: Path) -> None:
        grey_file(people / "stray.png", 9)
        with pytest.raises(DataError, match=r"1 image without an identity: stray\.png; .*unlabelled='skip'"):
            load(people)
        data, report = load(people, policy=LoadPolicy(unlabelled="skip"))
        assert len(data) == 4
        assert report.unlabelled == ("stray.png",)

    def test_identities_with_one_item(self, people: Path) -> None:
        grey_file(people / "cid" / "1.png", 9)
        data, report = load(people)
        assert data.identities == ("ann", "bob", "cid")
        assert "kept: 1 identity with only one image (cid)" in str(report)
        data, report = load(people, policy=LoadPolicy(singletons="skip"))
        assert data.identities == ("ann", "bob")
        assert report.singletons == ("cid",)
        with pytest.raises(DataError, match=r"1 identity with only one image: cid; .*singletons='skip'"):
            load(people, policy=LoadPolicy(singletons="error"))

    def test_train_and_test_folders_are_parts(self, tmp_path: Path) -> None:
        for place, name in enumerate(["Train/ann/1.png", "Train/bob/1.png", "test/ann/2.png"]):
            grey_file(tmp_path / name, place)
        data, report = load(tmp_path)
        assert data.identities == ("ann", "bob")
        assert data.columns["split"].tolist() == ["train", "train", "test"]
        assert report.notes == ("split by its folders into Train, test",)
        assert split(data).method == "column"

    def test_an_identity_called_test_is_no_part(self, tmp_path: Path) -> None:
        for place, name in enumerate(["train/1.png", "train/2.png", "test/1.png", "test/2.png"]):
            grey_file(tmp_path / name, place)
        assert load(tmp_path)[0].identities == ("test", "train")

    def test_a_folder_too_high_is_noticed(self, people: Path) -> None:
        for name in ("1.png", "film/3.png"):
            (people / "bob" / name).unlink()
        (people / "bob" / "film").rmdir()
        grey_file(people / "ann" / "deep" / "1.png", 7)
        for name in ("2.png", "10.png"):
            (people / "ann" / name).unlink()
        _, report = load(people)
        assert report.identities == 1
        assert f"load {people / 'ann'}" in str(report)

    def test_nothing_there(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("x")
        with pytest.raises(DataError, match=r"holds no images .*; it has 1 other file \(1 .txt\)"):
            load(tmp_path)
        grey_file(tmp_path / "flat.png", 1)
        with pytest.raises(DataError, match="1 image but no identity: expected a label for each"):
            load(tmp_path)

    def test_nothing_left(self, tmp_path: Path) -> None:
        (tmp_path / "ann").mkdir()
        (tmp_path / "ann" / "1.jpg").write_text("x")
        with pytest.raises(DataError, match=r"1 image skipped; cannot be read: ann/1.jpg \(not an im"):
            load(tmp_path, policy=LoadPolicy(unreadable="skip"))


class TestArrays:
    def save(self, tmp_path: Path, **arrays: object) -> Path:
        np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
        return tmp_path / "data.npz"

    def test_vectors_with_integer_labels(self, tmp_path: Path) -> None:
        x = np.arange(8.0).reshape(4, 2)
        path = self.save(tmp_path, x=x, y=np.array([10, 2, -1, 2]), camera=np.array([1, 1, 2, 2]))
        data, report = load(path)
        assert data.kind == "vectors"
        assert data.identities == ("-1", "2", "10")
        assert data.labels.tolist() == [2, 1, 0, 1]
        assert data.columns["camera"].tolist() == [1, 1, 2, 2]
        assert data.items[3].tolist() == [6.0, 7.0]
        assert data.items[3].dtype == np.float32
        assert data.names[3] == "item 3"
        assert report.singletons == ("-1", "10")

    @pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 3)])
    def test_pictures_with_string_labels(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        data, _ = load(self.save(tmp_path, x=x, y=np.array(["b", "a", "b"])))
        assert data.kind == "images"
        assert data.identities == ("a", "b")
        np.testing.assert_array_equal(data.items[1], x[1].reshape(4, 5, -1))
        np.testing.assert_array_equal(data.subset([2, 0]).items[0], x[2].reshape(4, 5, -1))

    def test_another_name_of_the_labels(self, tmp_path: Path) -> None:
        path = self.save(tmp_path, x=np.eye(2), who=np.array([b"a", b"b"]))
        assert load(path, label="who")[0].identities == ("a", "b")
        with pytest.raises(DataError, match=r"has no array 'whom': did you mean 'who'"):
            load(path, label="whom")

    def test_gaps(self, tmp_path: Path) -> None:
        x = np.eye(4)
        x[2, 1] = np.nan
        path = self.save(tmp_path, x=x, y=np.array([1.0, 1.0, 2.0, np.nan]))
        with pytest.raises(DataError, match=r"1 row without an identity: item 3;"):
            load(path)
        with pytest.raises(DataError, match=r"1 row with missing values: item 2 \(x\[2, 1\] is NaN\)"):
            load(path, policy=LoadPolicy(unlabelled="skip"))
        data, _ = load(path, policy=LoadPolicy(unlabelled="skip", missing="skip"))
        assert data.names == ("item 0", "item 1")
        kept, _ = load(path, policy=LoadPolicy(unlabelled="skip", missing="keep"))
        assert kept.names == ("item 0", "item 1", "item 2")
        x[2, 1] = np.inf
        with pytest.raises(DataError, match=r"1 row that cannot be read: item 2 \(x\[2, 1\] is not finite\)"):
            load(self.save(tmp_path, x=x, y=np.ones(4)))

    def test_numbers_are_kept_as_they_are(self, tmp_path: Path) -> None:
        for x in ([[1.7e9], [1.7e9 + 20]], [[1e39], [1e-200]], [[2**60], [2**60 + 1]], [[2**64 - 1], [1]]):
            array = np.array(x, dtype=np.uint64) if x[0][0] == 2**64 - 1 else np.array(x)
            data, report = load(self.save(tmp_path, x=array, y=np.arange(2)))
            assert [row.tolist() for row in data.items.rows] == x
            assert report.repeated == ()

    def test_missing_labels(self, tmp_path: Path) -> None:
        for y in (np.array(["a", "nan", ""]), np.array([b"a", b"NaT", b" "]), np.array([1, np.nan, np.nan])):
            with pytest.raises(DataError, match=r"2 rows without an identity: item 1, item 2;"):
                load(self.save(tmp_path, x=np.eye(3), y=y))
        with pytest.raises(DataError, match=r"'y' has fractions"):
            load(self.save(tmp_path, x=np.eye(2), y=np.array([1, np.inf])))
        with pytest.raises(DataError, match=r"'y' holds bytes that are not UTF-8"):
            load(self.save(tmp_path, x=np.eye(2), y=np.array([b"\xff", b"a"])))

    def test_repeated_rows(self, tmp_path: Path) -> None:
        path = self.save(tmp_path, x=np.ones((3, 2)), y=np.array([0, 0, 1]))
        _, report = load(path)
        assert report.repeated == (("item 1", "item 0"), ("item 2", "item 0"))
        assert report.conflicting == (("item 2", "item 0"),)

    def test_repeated_rows_are_left_out_and_all_of_those_that_contradict(self, tmp_path: Path) -> None:
        x = np.array([[1, 1], [2, 2], [1, 1], [3, 3], [2, 2], [2, 2], [4, 4]])
        path = self.save(tmp_path, x=x, y=np.array([0, 0, 0, 1, 1, 0, 1]))
        data, report = load(path, policy=LoadPolicy(repeated="skip"))
        assert data.names == ("item 0", "item 3", "item 6")
        assert report.repeated == (("item 2", "item 0"), ("item 4", "item 1"), ("item 5", "item 1"))
        assert report.conflicting == (("item 4", "item 1"),)
        assert "skipped: 3 rows with the same content as another (item 2 = item 0," in str(report)
        assert "skipped: 1 row with the same content under another identity (item 4 = item 1)" in str(report)
        with pytest.raises(
            DataError, match=r"3 rows with the same content as another: item 2, item 4, item 5;"
        ):
            load(path, policy=LoadPolicy(repeated="error"))

    def test_python_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        path = self.save(tmp_path, x=np.eye(2), y=np.array(["a", None], dtype=object))
        with pytest.raises(DataError, match="holds Python objects, which trine never unpickles"):
            load(path)

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x": np.eye(2)}, r"has no array 'y': known: x"),
            ({"x": np.eye(2), "y": np.zeros(3)}, r"'y' has shape \(3,\), expected \(2,\)"),
            (
                {"x": np.zeros((2, 3, 3)), "y": np.zeros(2)},
                r"'x' is float64 with shape \(2, 3, 3\)",
            ),
            (
                {"x": np.zeros((2, 3, 3, 4), np.uint8), "y": np.zeros(2)},
                r"or \(N, height, width, 1 or 3\) for images",
            ),
            ({"x": np.eye(2), "y": np.array([0.5, 1])}, r"'y' has fractions"),
            ({"x": np.eye(2), "y": np.array([1j, 1])}, r"'y' is complex128, expected integers or strings"),
            ({"x": np.eye(2), "y": np.zeros(2), "group": np.zeros(1)}, r"'group' has shape \(1,\)"),
            ({"x": np.eye(2), "y": np.zeros(2), "camera": np.zeros(2)}, r"'camera' is float64, expected int"),
        ],
    )
    def test_bad_arrays(self, tmp_path: Path, arrays: dict[str, object], message: str) -> None:
        with pytest.raises(DataError, match=message):
            load(self.save(tmp_path, **arrays))

    def test_a_small_file_with_a_huge_array_is_not_read(self, tmp_path: Path) -> None:
        path = self.save(tmp_path, x=np.zeros((2, 3)), y=np.zeros(2))
        content = bytearray(path.read_bytes())
        at = content.find(b"PK\1\2") + 24  # where the archive says how long an array is
        content[at : at + 4] = (3 << 30).to_bytes(4, "little")
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"data\.npz: x\.npy is 3\.0 GiB of numbers in 0\.0 MiB of the file"
        ):
            load(path)

    def test_damaged_files(self, tmp_path: Path) -> None:
        path = self.save(tmp_path, x=np.eye(2), y=np.zeros(2))
        content = path.read_bytes()
        for damaged in (content[: len(content) // 2], b"hello", b""):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"is not an .npz file, or it is damaged"):
                load(path)
        for claimed in ((10**12, 10**6), (3, 2)):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": "<f4", "fortran_order": False, "shape": claimed}
            )
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("x.npy", header.getvalue())
                archive.writestr("y.npy", header.getvalue())
            with pytest.raises(DataError, match=r"is not an .npz file, or it is damaged"):
                load(path)
        unknown = bytearray(content)
        unknown[content.find(b"PK\1\2") + 10] = 99  # a way of compression that no program knows
        path.write_bytes(unknown)
        with pytest.raises(DataError, match=r"is not an .npz file, or it is damaged"):
            load(path)
        with path.open("wb") as file:
            np.save(file, np.eye(2))
        with pytest.raises(DataError, match="holds a single array"):
            load(path)


class TestBuiltIn:
    def test_digits_are_scikit_learns(self) -> None:
        from sklearn.datasets import load_digits

        data, _ = load("digits")
        reference = load_digits()
        assert isinstance(data.items, ImageArray)
        np.testing.assert_allclose(data.items.pixels[..., 0], reference.images * 255 / 16, atol=0.5)
        assert data.items.pixels.max() == 255
        np.testing.assert_array_equal(data.labels, reference.target)
        assert data.columns == {}

    def test_fashion_mnist_of_the_debian_package(self) -> None:
        if not Path("/usr/share/datasets/fashion-mnist").exists():
            pytest.skip("the Debian package dataset-fashion-mnist is not installed")
        data, _ = load("fashion-mnist")
        assert len(data) == 70_000
        assert data.items[0].shape == (28, 28, 1)
        assert data.identity(0) == "Ankle boot"
        parts = split(data)
        assert parts.method == "column"
        assert (len(parts.train), len(parts.test)) == (60_000, 10_000)
        assert np.bincount(data.labels[parts.test]).tolist() == [1000] * 10

    def tiny(self, folder: Path, damage: bool = False) -> None:
        folder.mkdir(parents=True)
        for part, number in (("train", 3), ("t10k", 2)):
            header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (number, 2, 2))
            images = header + bytes(range(4 * number - damage))
            (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
            labels = bytes([0, 0, 8, 1]) + number.to_bytes(4, "big") + bytes([9] * number)
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)

    def test_a_downloaded_copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRINE_DATA", str(tmp_path))
        self.tiny(tmp_path / "FashionMNIST" / "raw")
        found = fashion_mnist(package=tmp_path / "none")
        assert found.columns["split"].tolist() == ["train"] * 3 + ["test"] * 2
        assert found.items[1].ravel().tolist() == [4, 5, 6, 7]

    def test_a_damaged_copy(self, tmp_path: Path) -> None:
        self.tiny(tmp_path / "raw", damage=True)
        with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged: delete it and load again"):
            fashion_mnist(package=tmp_path / "raw")

    def test_no_copy_names_both_ways(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import torchvision.datasets

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("no network")

        monkeypatch.setenv("TRINE_DATA", str(tmp_path))
        monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fail)
        with pytest.raises(
            DataError,
            match=r"apt install dataset-fashion-mnist.*pip install 'trine\[images\]'.*: no network",
        ):
            fashion_mnist(package=tmp_path / "none")

    def test_the_built_in_name_wins_and_a_path_can_say_otherwise(
        self, people: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people.rename(people.parent / "digits")
        monkeypatch.chdir(people.parent)
        assert len(load("digits")[0]) == 1797
        assert len(load("./digits")[0]) == 4
        assert len(load(Path("digits"))[0]) == 4

    def test_a_folder_of_that_name_hides_it_from_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "digits").mkdir()
        monkeypatch.chdir(tmp_path)
        assert has_identities("digits")
        assert not has_identities("./digits")
        for part in ("train", "test"):  # what makes any other folder one of tables
            (tmp_path / "digits" / f"{part}.csv").write_text("label,v\nx,1\n")
        assert len(load("digits")[0]) == len(load("digits", labelled=False)[0]) == 1797
        assert len(load("./digits")[0]) == 2
        assert (source_kind("digits"), source_kind("./digits")) == ("builtin", "folder")


class TestDispatch:
    def test_what_a_source_is(self, people: Path) -> None:
        for name in ("t.csv", "t.TSV.gz", "t.parquet", "x.npz", "p.JPG", "data.xlsx"):
            (people / name).write_text("")
        kinds = [source_kind(people / name) for name in ("t.csv", "t.TSV.gz", "t.parquet", "x.npz", "p.JPG")]
        assert kinds == ["table", "table", "table", "arrays", "image"]
        assert (source_kind(people), source_kind(people / "data.xlsx")) == ("folder", "other")
        assert {source_kind(name) for name in ("", "x" * 10_000, people / "none.csv")} == {"missing"}

    def test_unknown_sources(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no file or folder 'digit', .*did you mean 'digits'\?"):
            load("digit")
        (tmp_path / "data.xlsx").write_text("x")
        with pytest.raises(DataError, match=r"data.xlsx is not a data set: expected a folder of folders"):
            load(tmp_path / "data.xlsx")

    def test_columns_are_for_tables(self, people: Path) -> None:
        with pytest.raises(SettingError, match=r"label='who' names a column .* is not a table"):
            load(people, label="who")

    def test_policies_are_checked(self) -> None:
        with pytest.raises(SettingError, match=r"unknown policy for unreadable 'skp': did you mean 'skip'\?"):
            LoadPolicy(unreadable="skp")  # type: ignore[arg-type]
        with pytest.raises(SettingError, match="max_pixels=0 is out of range"):
            LoadPolicy(max_pixels=0)

    def test_without_pillow_the_install_command_is_named(
        self, people: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "PIL.Image", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[images\]'"):
            load(people)


class TestUnlabelled:
    def test_a_folder_in_any_shape(self, people: Path) -> None:
        grey_file(people / "stray.png", 9)
        data, report = load(people, labelled=False)
        assert len(data) == 5
        assert data.identities == ()
        assert data.labels.tolist() == [-1] * 5
        assert data.identity(0) == ""
        assert str(report) == f"{people}: 5 images"

    def test_one_picture_a_list_arrays_and_a_built_in_name(self, people: Path, tmp_path: Path) -> None:
        assert len(load(people / "ann" / "2.png", labelled=False)[0]) == 1
        assert len(load([people / "ann" / "2.png", people / "bob" / "1.png"], labelled=False)[0]) == 2
        np.savez(tmp_path / "x.npz", x=np.eye(3))
        assert load(tmp_path / "x.npz", labelled=False)[0].labels.tolist() == [-1] * 3
        assert len(load("digits", labelled=False)[0]) == 1797

    def test_probes_keep_their_order_and_may_repeat(self, people: Path) -> None:
        paths = [people / "bob" / "1.png", people / "ann" / "2.png", people / "bob" / "1.png"]
        items = read_items(paths)
        assert isinstance(items, ImageFiles)
        assert [int(items[i][0, 0, 0]) for i in range(3)] == [2, 0, 2]

    def test_a_bad_probe_is_named(self, people: Path) -> None:
        with pytest.raises(DataError, match=r"gone\.png \(no such file\)"):
            read_items([people / "gone.png"])


@pytest.mark.parametrize(
    ("name", "items", "identities", "shape"),
    [
        ("faces_orl", 400, 40, (112, 92, 1)),
        ("wildlife_lion", 740, 94, None),
        ("faces_yaleb/yaleb32.npz", 2414, 38, (32, 32, 1)),
        ("tabular_lmnn/palm16.npz", 2000, 100, (256,)),
    ],
)
def test_real_data(name: str, items: int, identities: int, shape: tuple[int, ...] | None) -> None:
    data, report = load(real(name))
    assert (len(data), len(data.identities)) == (items, identities)
    assert report.unreadable == ()
    if shape:
        assert data.items[len(data) - 1].shape == shape
    first = data.items[0]
    if isinstance(data.items, ImageFiles):
        np.testing.assert_array_equal(first, decode(real(name) / data.names[0]))


def test_label_noise_of_real_data_is_found(tmp_path: Path) -> None:
    """CUHK01 is known to hold pictures that carry two identities: here they are whole copies."""
    folder = real("reid_cuhk01")
    rows = [f"{path},{path.name[:4]},{path.name.split('_')[1]}" for path in sorted(folder.glob("*.jpg"))]
    assert len(rows) == 1940
    (tmp_path / "cuhk.csv").write_text("\n".join(["path,label,camera", *rows]))
    data, report = load(tmp_path / "cuhk.csv")
    assert len(data.identities) == 485
    assert set(data.columns["camera"].tolist()) == {"c1", "c2"}
    crossing = {tuple(sorted(Path(name).name[:4] for name in pair)) for pair in report.conflicting}
    assert crossing == {("0162", "0257"), ("0231", "0331")}


def test_whether_a_source_knows_identities(tmp_path: Path):
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    (flat / ".cache").mkdir(parents=True)
    (deep / "ann").mkdir(parents=True)
    assert (has_identities(flat), has_identities(deep)) == (False, True)
    for text, known in (("a,b\n1,2\n", False), ("a,Identity\n1,x\n", True)):
        table = tmp_path / "t.csv"
        table.write_text(text)
        assert has_identities(table) is known
        assert has_identities(table, label="b") is True
    np.savez(tmp_path / "x.npz", x=np.eye(2))
    np.savez(tmp_path / "y.npz", x=np.eye(2), y=np.arange(2))
    assert (has_identities(tmp_path / "x.npz"), has_identities(tmp_path / "y.npz")) == (False, True)
    for part in ("train", "test"):
        (flat / f"{part}.csv").write_text("a,label\n1,x\n")
    assert has_identities(flat)
    assert has_identities("digits")
    assert has_identities(tmp_path / "nothing.csv")
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(DataError, match=r"is not an .npz file, or it is damaged"):
        has_identities(tmp_path / "x.npz")
