"""What is damaged, and the verbs and calls that read it."""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support.commands import draw_bars
from trine.cli import main

SMALL = (
    "encoder.dimension=8",
    "encoder.mlp.hidden=[8]",
    "sampler.identities=4",
    "sampler.items=4",
    "training.steps=6",
)


@dataclass(frozen=True)
class Case:
    """A verb or a call that reads files which may be damaged.

    Attributes:
        name: Its name.
        victims: Files to damage one of, as patterns in the folder of everything.
        run: Reads them; takes the folder, and returns the exit code.
        writes: Whether it may change what it reads.
        gone: Items of the gallery that it deletes or changes as it was asked to.
    """

    name: str
    victims: tuple[str, ...]
    run: Callable[[Path], int]
    writes: bool = False
    gone: tuple[str, ...] = ()


def make(folder: Path) -> None:
    """Makes everything that is damaged: data, runs, galleries and tables, of a few KB each."""
    folder.mkdir(parents=True)
    _make_rows(folder)
    _verb("train", folder / "rows.npz", "--out", folder / "run", "--set", *SMALL, "data.calibration_folds=3")
    resume(folder, again=False)
    draw_bars(folder / "bars")
    small = (
        "encoder.dimension=8",
        "encoder.small_resnet.width=4",
        "encoder.small_resnet.blocks=[1]",
        *SMALL[2:],
    )
    _verb("train", folder / "bars", "--out", folder / "pictures", "--set", *small)
    _make_films(folder)
    for run in ("run", "fitted", "pictures", "films"):
        shutil.rmtree(folder / run / "tensorboard", ignore_errors=True)
        for page in ("report.html", "picture.png"):
            (folder / run / page).unlink(missing_ok=True)
    for dtype in ("float32", "float16", "int8"):
        gallery = folder / f"{dtype}.db"
        _verb(
            "enrol",
            folder / "run",
            folder / "known.csv",
            "--gallery",
            gallery,
            "--dtype",
            dtype,
            "--label",
            "kind",
        )
        _verb("gallery", "clusters", gallery, "--threshold", "0.5")
    _verb("gallery", "export", folder / "float32.db", folder / "table.parquet")
    _verb("embed", folder / "run", folder / "rows.npz", "--out", folder / "embedded.parquet")
    for ending in ("parquet", "csv"):
        _verb("mine", folder / "run", folder / "rows.npz", "--out", folder / f"triplets.{ending}")


def _make_rows(folder: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 10)
    rows = (2 * random.normal(size=(12, 6))[labels] + random.normal(size=(120, 6))).astype(np.float32)
    names = np.array([f"k{label}" for label in labels])
    np.savez(folder / "rows.npz", x=rows, y=names)
    np.savez_compressed(folder / "packed.npz", x=rows, y=names)
    columns = {"kind": names.tolist(), **{f"f{at}": rows[:, at].tolist() for at in range(6)}}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    (folder / "rows.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "known.csv").write_text("\n".join(lines[:51]) + "\n")
    parquet.write_table(arrow.table(columns), folder / "rows.parquet", row_group_size=40)


def _make_films(folder: Path) -> None:
    random = np.random.default_rng(1)
    lines = ["user,item", *(f"u{user},i{item}" for user in range(12) for item in random.permutation(20)[:8])]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    few = ("encoder.dimension=8", "training.steps=6", "interactions.at_least=null")
    _verb(
        "train",
        folder / "ratings.csv",
        "--recipe",
        "recommendation",
        "--out",
        folder / "films",
        "--set",
        *few,
    )


def _verb(*words: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(list(map(str, words))) == 0, words


def verb(*words: str) -> Callable[[Path], int]:
    """A verb on the folder of everything; a word with a slash in front is a path in it."""

    def run(folder: Path) -> int:
        return main([str(folder / word[1:]) if word.startswith("/") else word for word in words])

    return run


def call(body: Callable[[Path], object]) -> Callable[[Path], int]:
    """A call from Python, which may raise trine's errors."""

    def run(folder: Path) -> int:
        from trine import TrineError

        try:
            body(folder)
        except TrineError:
            return 2
        return 0

    return run


def _search(dtype: str) -> Callable[[Path], object]:
    def body(folder: Path) -> None:
        from trine import Gallery

        with Gallery.open(folder / f"{dtype}.db", create=False) as gallery:
            probe = [1.0] * gallery.binding.dimension
            gallery.search(embedding=probe, k=10)
            gallery.search(embedding=probe, k=10, where={"f0": (None, 900)})
            gallery.identify(embedding=probe, threshold=1.0)
            for name in gallery.identities():
                for entry in gallery.entries(name):
                    gallery.get(entry.item)

    return body


def _embed_rows(folder: Path) -> None:
    import trine

    trine.load(folder / "run").embed(np.ones((3, 6), np.float32))


def resume(folder: Path, *, again: bool = True) -> None:
    """Resumes the run `fitted`, or starts it."""
    from trine.data import load
    from trine.training import fit, load_recipe

    data, _ = load(str(folder / "rows.npz"))
    fit(data, load_recipe(folder / "run/recipe.yaml"), out=folder / "fitted", resume=again, progress=False)


def _load(folder: Path) -> None:
    from trine.data import load

    load(str(folder / "embedded.parquet"))


def _recommend(folder: Path) -> None:
    from trine.encoders import load_two_tower

    load_two_tower(folder / "films").recommend("u1", k=3)


MODEL = tuple(f"{{}}/model/{name}" for name in ("settings.json", "*.safetensors", "settings.json"))


def _model(run: str) -> tuple[str, ...]:
    return tuple(pattern.format(run) for pattern in MODEL)


def _galleries() -> list[Case]:
    found = []
    for dtype in ("float32", "float16", "int8"):
        name, victims = f"/{dtype}.db", (f"{dtype}.db",)
        reads: list[Sequence[str]] = [
            ("gallery", "list", name),
            ("gallery", "list", name, "k1"),
            ("gallery", "check", name),
            ("gallery", "export", name, "/new.parquet"),
            ("gallery", "copy", name, "/new.db"),
            ("gallery", "backup", name, "/new.db"),
            ("gallery", "restore", name, "/new.db"),
        ]
        found += [Case(" ".join(words[:2]), victims, verb(*words)) for words in reads]
        item, of_k1 = "row 1", tuple(f"row {row}" for row in range(11, 21))
        # The first two may note a calibration.
        writes: list[tuple[Sequence[str], tuple[str, ...]]] = [
            (("gallery", "stats", name, "--json"), ()),
            (("identify", "/rows.npz", "--gallery", name, "--json"), ()),
            (("gallery", "repair", name, "--yes"), ()),
            (("gallery", "remove", name, item), (item,)),
            (("gallery", "rename", name, "k1", "zoe"), ()),
            (("gallery", "merge", name, "k1", "k2"), ()),
            (("gallery", "forget", name, "k1"), of_k1),
            (("gallery", "clusters", name, "--threshold", "0.5"), ()),
            (("gallery", "import", name, "/table.parquet"), ("*",)),
            (("enrol", "/run", "/rows.npz", "--gallery", name), ()),
        ]
        found += [Case(" ".join(w[:2]), victims, verb(*w), writes=True, gone=gone) for w, gone in writes]
        found.append(Case("Gallery.search", victims, call(_search(dtype)), writes=True))
    found.append(
        Case("gallery import", ("table.parquet",), verb("gallery", "import", "/new.db", "/table.parquet"))
    )
    return found


def _models() -> list[Case]:
    rows, run = "/rows.npz", "/run"
    reads: list[tuple[str, tuple[str, ...], Callable[[Path], int]]] = [
        ("trine.load", _model("run"), call(_embed_rows)),
        ("embed", _model("run"), verb("embed", run, rows, "--out", "/new.parquet")),
        ("identify", _model("run"), verb("identify", rows, "--gallery", "/float32.db")),
        ("gallery create", _model("run"), verb("gallery", "create", "/new.db", "--encoder", run)),
        ("gallery stats", ("run/model/*",), verb("gallery", "stats", "/float32.db")),
        ("cluster", _model("run"), verb("cluster", run, rows, "--threshold", "0.5", "--out", "/new.csv")),
        ("evaluate", ("run/split.json", *_model("run")), verb("evaluate", run, rows)),
        ("mine", ("run/split.json",), verb("mine", run, rows, "--out", "/mined.csv")),
        ("audit", ("run/split.json", "run/model/*"), verb("audit", run, rows)),
        ("doctor", ("run/*.*",), verb("doctor", run)),
        ("embed pictures", _model("pictures"), verb("embed", "/pictures", "/bars", "--out", "/new.parquet")),
        ("load_two_tower", _model("films"), call(_recommend)),
        ("recommend", _model("films"), verb("recommend", "/films", "--user", "u1")),
    ]
    found = [Case(*each) for each in reads]
    victims = ("fitted/checkpoints/*", "fitted/checkpoints/*", "fitted/recipe.yaml", "fitted/*.*")
    return [*found, Case("resume", victims, call(resume), writes=True)]


def _data() -> list[Case]:
    embed, kind = ("embed", "/run"), ("--out", "/new.parquet", "--label", "kind")
    judge = ("evaluate", "/run", "/rows.npz", "--part", "all", "--triplets")
    reads: list[tuple[str, Sequence[str]]] = [
        ("rows.npz", (*embed, "/rows.npz", "--out", "/new.parquet")),
        ("packed.npz", (*embed, "/packed.npz", "--out", "/new.parquet")),
        *((table, (*embed, f"/{table}", *kind)) for table in ("rows.csv", "rows.csv.gz", "rows.parquet")),
        *((table, (*judge, f"/{table}")) for table in ("triplets.parquet", "triplets.csv")),
        ("bars/*/*.png", ("embed", "/pictures", "/bars", "--out", "/new.parquet")),
        ("known.csv", ("enrol", "/run", "/known.csv", "--gallery", "/new.db", "--label", "kind")),
        (
            "run/recipe.yaml",
            (
                "train",
                "/rows.npz",
                "--recipe",
                "/run/recipe.yaml",
                "--out",
                "/new",
                "--set",
                "training.steps=6",
            ),
        ),
    ]
    found = [Case(f"{words[0]} {victim}", (victim,), verb(*words)) for victim, words in reads]
    return [*found, Case("load", ("embedded.parquet",), call(_load))]


CASES = (*_galleries(), *_models(), *_data())
