"""A gallery from the command line: each verb does what the same call does in Python, or says why not."""

import json
import re
import shutil
import sqlite3
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from support.commands import answered, draw_bars, refused, train_bars
from support.gallery_stores import postgres
from trine import Gallery, load
from trine.cli.verbs import GALLERY
from trine.data import image_decoding, validation
from trine.gallery import Entry, SqliteStore
from trine.gallery.sqlite.database import MEMORY
from trine.rates import ROUND_RATES

pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    return draw_bars(tmp_path_factory.mktemp("data") / "bars")


@pytest.fixture(scope="module")
def run(bars, tmp_path_factory):
    return train_bars(bars, tmp_path_factory.mktemp("runs") / "bars")


@pytest.fixture(scope="module")
def filled(bars, run, tmp_path_factory):
    """A gallery of five of the six identities; of each all items but the last."""
    from trine.cli import main

    folder = tmp_path_factory.mktemp("filled")
    known = folder / "known"
    shutil.copytree(bars, known)
    shutil.rmtree(known / "bar5")
    rows = ["item,price,colour,day,sold,quality"]
    for identity in range(5):
        (known / f"bar{identity}/7.png").unlink()
        rows += [
            f"bar{identity}/{i}.png,{10 * identity + i},{'red' if i % 2 else 'dark, blue'},"
            f"2024-0{identity + 1}-1{i},{'true' if i == 3 else 'false'},{0.1 * (i + 1):.1f}"
            for i in range(7)
        ]
    (folder / "about.csv").write_text("\n".join(rows).replace("dark, blue", '"dark, blue"') + "\n")
    words = ["enrol", run, known, "--gallery", folder / "g", "--metadata", folder / "about.csv", "shop=1"]
    assert main(list(map(str, words))) == 0
    return folder / "g.db"


@pytest.fixture
def people(filled, tmp_path):
    return shutil.copy(filled, tmp_path / "people.db")


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", GALLERY.verbs)
def test_every_verb_of_a_gallery_shows_an_example(name, capsys):
    from trine.cli import main

    with pytest.raises(SystemExit) as left:
        main(["gallery", name, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: trine gallery {name} " in shown
    assert f"  trine gallery {name} " in shown.partition("examples:")[2]


def test_the_verbs_of_a_gallery_are_listed(capsys):
    from trine.cli import main

    shown = []
    for words in (["gallery"], ["gallery", "--help"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert all(re.search(rf"\n    {name}\s", shown[0]) for name in GALLERY.verbs)


def test_data_is_enrolled_with_what_is_known_of_it(people, bars, run, capsys):
    with Gallery.open(people, create=False) as gallery:
        about = gallery.get("bar2/3.png").metadata
        assert len(gallery) == 35
    assert about == {
        "price": 23,
        "colour": "red",
        "day": "2024-03-13",
        "sold": True,
        "quality": 0.4,
        "shop": 1,
    }
    words = ["enrol", run, bars / "bar5/0.png", "--identity", "new", "--metadata", 'year="2024"', "x=1.5"]
    out = answered(capsys, *words, "--gallery", people)
    assert out.splitlines() == [
        "1 new, 0 replaced, 0 already there",
        f"{people} holds 36 items of 6 identities",
    ]
    assert "0 new, 0 replaced, 1 already there" in answered(capsys, *words, "--gallery", people)
    with Gallery.open(people, create=False) as gallery:
        (entry,) = gallery.entries("new")
    assert entry.metadata == {"year": "2024", "x": 1.5}
    assert entry.source == str(bars / "bar5/0.png")


def test_a_dtype_is_chosen_when_a_gallery_is_made(bars, run, capsys, tmp_path):
    small = tmp_path / "small.db"
    answered(capsys, "enrol", run, bars, "--gallery", small, "--dtype", "int8")
    assert json.loads(answered(capsys, "gallery", "stats", small, "--json"))["dtype"] == "int8"
    said = refused(capsys, "enrol", run, bars, "--gallery", small, "--dtype", "float16")
    assert "stores embeddings as int8, given float16: omit --dtype" in said
    assert "did you mean 'int8'" in refused(
        capsys, "enrol", run, bars, "--gallery", tmp_path / "x", "--dtype", "int4"
    )
    assert not (tmp_path / "x.db").exists()


def test_a_progress_bar_is_for_terminals(bars, run, capsys, tmp_path, monkeypatch):
    import sys

    answered(capsys, "enrol", run, bars, "--gallery", tmp_path / "quiet")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    capsys.readouterr()
    from trine.cli import main

    assert main(["enrol", str(run), str(bars), "--gallery", str(tmp_path / "loud")]) == 0
    captured = capsys.readouterr()
    assert "enrolling" in captured.err
    assert "48/48" in captured.err
    assert "enrolling" not in captured.out


def test_an_enrolment_that_is_interrupted_says_how_it_goes_on(bars, run, capsys, tmp_path, monkeypatch):
    from trine.cli import main

    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Gallery, "enrol_dataset", interrupted)
    assert main(["enrol", str(run), str(bars), "--gallery", str(tmp_path / "g")]) == 130
    assert "the same command enrols the rest" in capsys.readouterr().out


def test_identify_answers_as_python_does(people, bars, capsys):
    probes = [bars / "bar1/7.png", bars / "bar5/0.png"]
    out = answered(
        capsys, "identify", *probes, "--gallery", people, "--threshold", "0.2", "--candidates", "2"
    )
    first, *ranks = out.splitlines()
    assert first.startswith(f"{probes[0]}: this is bar1 (distance 0.")
    assert ranks[0].startswith("  1. 0.")
    assert "  bar1  bar1/" in ranks[0]
    assert len(ranks) == 5
    for more in (
        {"scoring": "mean", "top": 2},
        {"scoring": "centroid", "quality": "quality"},
        {"scoring": "best", "candidates": 5},
    ):
        words = [word for name, value in more.items() for word in (f"--{name}", value)]
        found = lines(answered(capsys, "identify", bars / "bar1", "--gallery", people, "--json", *words))
        with Gallery.open(people, encoder=loaded(people), create=False) as gallery:
            items = [str(bars / f"bar1/{i}.png") for i in range(8)]
            expected = gallery.identify_many(items, **more)
        assert [one.pop("probe") for one in found] == [f"{i}.png" for i in range(8)]
        assert found == json.loads(json.dumps([one.to_json() for one in expected]))


def loaded(people):
    from trine import load

    with Gallery.open(people, create=False) as gallery:
        return load(gallery.model)


def test_search_filters_excludes_and_turns_pages(people, bars, capsys):
    probe = bars / "bar3/7.png"

    def found(*words):
        (answer,) = lines(answered(capsys, "search", probe, "--gallery", people, "--json", *words))
        assert answer["probe"] == str(probe)
        return answer["hits"]

    everything = found("-k", "50")
    assert len(everything) == 35
    assert everything[0]["identity"] == "bar3"
    scores = [hit["score"] for hit in everything]
    assert scores == sorted(scores)
    for words, holds in [
        (["price=33"], lambda about: about["price"] == 33),
        (["price=10..20"], lambda about: 10 <= about["price"] <= 20),
        (["price=..12", "sold=true"], lambda about: about["price"] <= 12 and about["sold"]),
        (["day=2024-02-01..2024-03-12"], lambda about: "2024-02-01" <= about["day"] <= "2024-03-12"),
        (
            ['colour="dark, blue"', "price=40.."],
            lambda about: about["colour"] != "red" and about["price"] >= 40,
        ),
        (["price=1,23,99"], lambda about: about["price"] in (1, 23)),
    ]:
        where = [word for one in words for word in ("--where", one)]
        expected = [hit for hit in everything if holds(hit["metadata"])]
        assert expected
        assert found("-k", "50", *where) == expected
    rest = [hit for hit in everything if hit["item"] not in ("bar3/0.png", "bar3/1.png")]
    out = found("-k", "4", "--offset", "3", "--exclude", "bar3/0.png", "--exclude", "bar3/1.png")
    assert out == rest[3:7]
    shown = answered(capsys, "search", probe, "--gallery", people, "-k", "1", "--offset", "2")
    assert shown.startswith("  3. ")
    assert f"  {everything[2]['identity']}  {everything[2]['item']}  colour=" in shown
    assert answered(capsys, "search", probe, "--gallery", people, "--where", "price=999") == "nothing found\n"


def test_recommend_takes_items_by_name(people, capsys):
    words = ["--like", "bar1/0.png", "bar1/1.png", "--unlike", "bar2/0.png", "--diversity", "0.4", "-k", "5"]
    out = json.loads(
        answered(capsys, "recommend", *words, "--where", "price=0..40", "--gallery", people, "--json")
    )
    with Gallery.open(people, create=False) as gallery:
        hits = gallery.recommend(
            ["bar1/0.png", "bar1/1.png"], unlike=["bar2/0.png"], diversity=0.4, k=5, where={"price": (0, 40)}
        )
    assert [hit["item"] for hit in out["hits"]] == [hit.item for hit in hits]
    assert out["like"] == ["bar1/0.png", "bar1/1.png"]
    again = answered(capsys, "recommend", "--like", "bar1/0.png", "--like", "bar1/1.png", "--gallery", people)
    assert len(again.splitlines()) == 10


def test_verify_against_a_claim_or_by_a_gallery(people, bars, run, capsys):
    one, same, other = bars / "bar1/7.png", bars / "bar1/6.png", bars / "bar4/7.png"
    claim = ["verify", one, "--gallery", people, "--threshold", "0.3", "--identity"]
    assert answered(capsys, *claim, "bar1").startswith("the same: this is bar1 (distance 0.")
    assert answered(capsys, *claim, "bar4").startswith("different: not bar4 (")
    found = json.loads(answered(capsys, "verify", one, other, "--gallery", people, "--json"))
    direct = json.loads(answered(capsys, "verify", run, one, other, "--json"))
    assert found.pop("score") == pytest.approx(direct.pop("score"), abs=1e-5)
    assert found == direct
    assert found["claim"] is None
    by_encoder = answered(capsys, "verify", one, same, "--encoder", run)
    assert by_encoder == answered(capsys, "verify", run, one, same)


def test_identities_are_arranged(people, capsys):
    gallery = lambda *words: answered(capsys, "gallery", *words)  # noqa: E731
    assert gallery("rename", people, "bar0", "ann") == "renamed bar0 to ann, with 7 items\n"
    assert gallery("merge", people, "ann", "bar1") == "moved 7 items of bar1 to ann, which now has 14 items\n"
    out = gallery("split", people, "bar1/0.png", "bar1/1.png", "--identity", "bob")
    assert out == f"moved 2 items to bob, a new identity of {people}\n"
    assert gallery("list", people).splitlines()[::4] == ["     12  ann", "      2  bob"]
    assert json.loads(gallery("list", people, "--json")) == {"ann": 12, "bob": 2} | {
        f"bar{i}": 7 for i in (2, 3, 4)
    }
    shown = gallery("list", people, "bob").splitlines()
    assert (
        shown[0] == "bar1/0.png  colour=dark, blue  day=2024-02-10  price=10  quality=0.1  shop=1  sold=False"
    )
    (first, _) = lines(gallery("list", people, "bob", "--json"))
    assert first["item"] == "bar1/0.png"
    assert first["metadata"]["price"] == 10
    assert first["source"].endswith("known/bar1/0.png")
    assert (
        gallery("remove", people, "bar2/0.png", "bar2/1.png") == f"2 items removed; {people} holds 33 items\n"
    )


def test_the_forgotten_leave_no_trace(people, capsys):
    assert b"bar4/3.png" in people.read_bytes()
    out = answered(capsys, "gallery", "forget", people, "bar4")
    assert out.startswith("bar4 is forgotten, with 7 items")
    assert b"bar4" not in people.read_bytes()
    assert "identity 'bar4' is not in the gallery" in refused(capsys, "gallery", "forget", people, "bar4")


def test_clusters_keep_their_numbers(people, capsys, tmp_path):
    out = answered(capsys, "gallery", "clusters", people, "--threshold", "0.5", "--out", tmp_path / "c.csv")
    assert "(35 new)" in out.splitlines()[0]
    rows = dict(row.split(",") for row in (tmp_path / "c.csv").read_text().splitlines()[1:])
    found = json.loads(answered(capsys, "gallery", "clusters", people, "--json"))
    assert found["added"] == 0
    assert found["threshold"] == 0.5
    assert {item: str(number) for item, number in found["clusters"].items()} == rows
    assert "start over with --recluster" in refused(
        capsys, "gallery", "clusters", people, "--threshold", "0.1"
    )
    anew = json.loads(
        answered(capsys, "gallery", "clusters", people, "--threshold", "0.1", "--recluster", "--json")
    )
    assert min(anew["clusters"].values()) > max(found["clusters"].values())
    own = json.loads(answered(capsys, "gallery", "clusters", people, "--choose", "--recluster", "--json"))
    assert own["threshold"] not in (0.5, 0.1)


def test_a_gallery_goes_out_and_in_and_over(people, bars, capsys, tmp_path):
    table, again = tmp_path / "t.parquet", tmp_path / "again"
    assert answered(capsys, "gallery", "export", people, table) == (
        f"{table} holds 35 items with their embeddings\n"
    )
    for expected in ("35 new, 0 replaced, 0 already there", "0 new, 0 replaced, 35 already there"):
        out = answered(capsys, "gallery", "import", again, table)
        assert out.splitlines() == [expected, f"{again}.db holds 35 items"]
    probe = ["identify", bars / "bar1/7.png", "--json", "--gallery"]
    expected = answered(capsys, *probe, people)
    # Strangers of the model may have been forgotten since the first was calibrated.
    assert lines(answered(capsys, *probe, again))[0]["candidates"] == lines(expected)[0]["candidates"]
    assert "35 new" in answered(capsys, "gallery", "copy", people, tmp_path / "half", "--dtype", "float16")
    found = lines(answered(capsys, *probe, tmp_path / "half"))[0]
    assert found["nearest"] == lines(expected)[0]["nearest"]
    assert "stores embeddings as float16" in refused(
        capsys, "gallery", "copy", people, tmp_path / "half", "--dtype", "int8"
    )
    assert "cannot be copied to itself" in refused(capsys, "gallery", "copy", people, people)
    assert "output must end in .parquet" in refused(capsys, "gallery", "export", people, tmp_path / "t.csv")
    assert "is not a Parquet table" in refused(capsys, "gallery", "import", again, people)
    assert "unknown scheme mysql://" in refused(capsys, "gallery", "copy", people, "mysql://h/d")


@pytest.mark.parametrize(
    "words",
    [
        ["identify", "@", "--gallery", "*"],
        ["search", "@", "--gallery", "*"],
        ["verify", "@", "--identity", "bar1", "--gallery", "*"],
        ["enrol", "RUN", "@", "--identity", "new", "--gallery", "*"],
        ["enrol", "RUN", "DATA", "--sync", "--gallery", "*"],
        ["gallery", "create", "new", "--encoder", "RUN"],
        ["gallery", "import", "new", "TABLE"],
        ["gallery", "rebuild", "*", "--encoder", "RUN", "--data", "DATA"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_gallery_is_opened_once_and_a_picture_decoded_once(
    words, people, bars, run, capsys, tmp_path, monkeypatch
):
    answered(capsys, "gallery", "export", people, tmp_path / "t.parquet")
    opened, decoded = [], Counter()
    open_store, decode = SqliteStore.__init__, image_decoding.decode_stream

    def open_and_count(self, *given, **how):
        if given[0] != MEMORY:  # where a table is checked before it is imported
            opened.append(self)
        open_store(self, *given, **how)

    def decode_and_count(file, **how):
        decoded[file.name] += 1
        return decode(file, **how)

    monkeypatch.setattr(SqliteStore, "__init__", open_and_count)
    for module in (image_decoding, validation):
        monkeypatch.setattr(module, "decode_stream", decode_and_count)
    places = {"@": bars / "bar1/7.png", "*": people, "RUN": run, "TABLE": tmp_path / "t.parquet"}
    places |= {"DATA": bars, "new": tmp_path / "new"}
    answered(capsys, *(places.get(word, word) for word in words))
    assert len(opened) == 1
    assert max(decoded.values(), default=0) == (words[0] != "gallery" or words[1] == "rebuild")


def test_a_gallery_on_a_server_answers_as_a_file_does(people, bars, run, capsys):
    with postgres() as address:
        server = ["--gallery", address]
        assert "35 new" in answered(capsys, "gallery", "copy", people, address)
        probe = ["identify", bars / "bar1/7.png", "--json"]
        on_server, in_file = (
            lines(answered(capsys, *probe, *at))[0] for at in (server, ["--gallery", people])
        )
        assert on_server.pop("score") == pytest.approx(in_file.pop("score"), abs=1e-4)
        assert on_server["nearest"] == in_file["nearest"]
        out = answered(capsys, "enrol", run, bars / "bar5/0.png", "--identity", "new", *server)
        assert out.startswith("1 new")
        found = answered(capsys, "search", bars / "bar3/7.png", *server, "--where", "price=33")
        assert found.startswith("  1. ")
        assert "bar3/3.png" in found
        assert len(found.splitlines()) == 1
        assert "moved 7 items of bar1 to bar0" in answered(
            capsys, "gallery", "merge", address, "bar0", "bar1"
        )
        assert "new is forgotten, with 1 item" in answered(capsys, "gallery", "forget", address, "new")
        assert "traces of forgotten items were wiped" in answered(
            capsys, "gallery", "repair", address, "--yes"
        )
        assert json.loads(answered(capsys, "gallery", "stats", address, "--json"))["items"] == 35


def test_a_gallery_is_rebuilt_for_another_encoder(people, bars, run, capsys, tmp_path):
    other = train_bars(bars, tmp_path / "other", "training.steps=3", "seed=5")
    probe = ["identify", bars / "bar1/7.png", "--json", "--gallery", people]
    before = lines(answered(capsys, *probe))[0]
    said = refused(capsys, *probe, "--encoder", other)
    assert "holds embeddings of the encoder" in said
    assert "rebuild it for this one" in said
    out = answered(capsys, "gallery", "rebuild", people, "--encoder", other)
    assert out.splitlines() == [
        "35 items embedded, 0 dropped",
        f"{people} holds 35 items and uses the encoder {other}",
    ]
    after = lines(answered(capsys, *probe))[0]
    assert after["score"] != before["score"]
    assert json.loads(answered(capsys, "gallery", "stats", people, "--json"))["model"] == str(other)

    moved = tmp_path / "moved"
    other.rename(moved)
    said = refused(capsys, *probe)
    assert "there is no model folder" in said
    assert "name its current folder with --encoder" in said
    assert lines(answered(capsys, *probe, "--encoder", moved))[0] == after


def test_a_rebuild_says_what_it_cannot_read(run, bars, capsys, tmp_path):
    random = np.random.default_rng(0)
    table, people = tmp_path / "rows.csv", tmp_path / "kinds.db"
    labels = np.repeat(np.arange(6), 12)
    rows = random.normal(size=(6, 5))[labels] + 0.2 * random.normal(size=(72, 5))
    text = [",".join([f"kind{y}", *map(str, row)]) for y, row in zip(labels, rows, strict=True)]
    table.write_text("\n".join(["kind,a,b,c,d,e", *text]) + "\n")
    for name, seed in (("one", 0), ("two", 1)):
        words = ["--label", "kind", "--out", tmp_path / name, "--set", "training.steps=5", f"seed={seed}"]
        answered(capsys, "train", table, *words)
    answered(capsys, "enrol", tmp_path / "one", table, "--label", "kind", "--gallery", people)
    rebuild = ["gallery", "rebuild", people, "--encoder", tmp_path / "two"]
    said = refused(capsys, *rebuild)
    assert "72 of its items can no longer be read" in said
    assert "with --data, or delete them with --drop-missing" in said
    assert "72 items embedded" in answered(capsys, *rebuild, "--data", table, "--label", "kind")
    rebuild[-1] = tmp_path / "one"
    assert "0 items embedded, 72 dropped" in answered(capsys, *rebuild, "--drop-missing")


def corrupted(people):
    connection = sqlite3.connect(people)
    connection.execute("UPDATE items SET metadata = '[1]' WHERE item = 'bar1/2.png'")
    nothing = np.full(128, np.nan, dtype="<f4").tobytes()
    connection.execute("UPDATE items SET embedding = ? WHERE item = 'bar1/3.png'", (nothing,))
    connection.commit()
    connection.close()
    return people


def test_a_damaged_gallery_is_checked_and_mended(people, capsys, monkeypatch):
    import sys

    assert answered(capsys, "gallery", "check", people) == f"{people}: no problems detected\n"
    assert json.loads(answered(capsys, "gallery", "check", people, "--json")) == {"problems": []}
    assert answered(capsys, "gallery", "repair", people) == f"{people} needs no repair\n"
    corrupted(people)
    problems = json.loads(answered(capsys, "gallery", "check", people, "--json", code=1))["problems"]
    assert any("'bar1/2.png'" in problem for problem in problems)
    assert any("'bar1/3.png'" in problem for problem in problems)
    shown = answered(capsys, "gallery", "check", people, code=1).splitlines()
    assert shown == [*problems, "fix it with: trine gallery repair"]
    assert "add --yes" in refused(capsys, "gallery", "repair", people)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert "nothing was repaired" in refused(capsys, "gallery", "repair", people)
    assert len(answered(capsys, "gallery", "check", people, code=1).splitlines()) == len(shown)
    monkeypatch.setattr("builtins.input", lambda question: "y")
    out = answered(capsys, "gallery", "repair", people)
    assert "items were deleted after they were set aside in " in out
    assert ": 2, such as the item 'bar1/2.png' has metadata" in out
    assert answered(capsys, "gallery", "check", people) == f"{people}: no problems detected\n"
    assert json.loads(answered(capsys, "gallery", "list", people, "--json"))["bar1"] == 5


def test_repair_does_not_ask_where_it_is_told(people, capsys):
    corrupted(people)
    assert "set aside" in answered(capsys, "gallery", "repair", people, "--yes")


def test_an_empty_gallery_is_made_once(run, bars, capsys, tmp_path):
    people = tmp_path / "new"
    made = answered(capsys, "gallery", "create", people, "--encoder", run, "--dtype", "int8")
    assert made == f"created {people}.db: 128 numbers of int8, euclidean\n"
    assert "already exists" in refused(capsys, "gallery", "create", people, "--encoder", run)
    assert "the gallery is empty" in answered(capsys, "identify", bars / "bar0/0.png", "--gallery", people)
    assert answered(capsys, "search", bars / "bar0/0.png", "--gallery", people) == "nothing found\n"
    stats = answered(capsys, "gallery", "stats", people).splitlines()
    assert stats[0].startswith("0 items of 0 identities")
    assert stats[2].startswith("to identify: uncalibrated: there are too few strangers")
    assert stats[3:] == [f"encoder {run}"]

    by_hand = ["--dimension", "3", "--fingerprint", "f", "--distance", "cosine", "--threshold", "0.5"]
    answered(capsys, "gallery", "create", tmp_path / "hand", *by_hand)
    stats = answered(capsys, "gallery", "stats", tmp_path / "hand").splitlines()
    assert stats[1] == "to verify: threshold 0.5"
    assert stats[2].startswith("to identify: threshold 0.5 by hand; its own uncalibrated: there are too few")
    assert stats[3:] == ["no encoder folder"]
    said = refused(capsys, "identify", bars / "bar0/0.png", "--gallery", tmp_path / "hand")
    assert "has no stored encoder; name its run folder with --encoder" in said
    assert "pass --encoder, or --dimension and" in refused(capsys, "gallery", "create", tmp_path / "x")
    assert "an encoder has its own" in refused(
        capsys, "gallery", "create", tmp_path / "x", "--encoder", run, "--dimension", "3"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["gallery", "list"],
        ["gallery", "stats"],
        ["gallery", "check"],
        ["gallery", "repair"],
        ["gallery", "clusters"],
        ["gallery", "remove", "x"],
        ["gallery", "forget", "x"],
        ["gallery", "export", "x.parquet"],
    ],
    ids=lambda words: words[1],
)
def test_a_missing_gallery_is_not_made(words, capsys, tmp_path):
    verb, name, *rest = words
    said = refused(capsys, verb, name, tmp_path / "none", *rest)
    assert f"the gallery {tmp_path / 'none.db'} does not exist: enrol into it first" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["search", "@", "--where", "price"], "it has no KEY="),
        (["search", "@", "--where", "price=1", "--where", "price=2"], "'price' already has a condition"),
        (["search", "@", "--where", "price=20..10"], "the range of 'price' ends before it begins"),
        (["search", "@", "-k", "0"], "k must be at least 1, given 0"),
        (["search", "@", "--offset", "-1"], "offset must be at least 0, given -1"),
        (["recommend", "--like", "none.png"], "item 'none.png' is not in the gallery"),
        (["recommend", "--like", "bar1/0.png", "--diversity", "2"], "diversity must be in [0, 1], given 2"),
        (["verify", "@", "--identity", "bar11"], "did you mean 'bar1'?"),
        (["verify", "@"], "takes two images, or one with --identity, given 1"),
        (["identify", "@", "--scoring", "average"], "unknown scoring 'average'"),
        (["identify", "@", "--quality", "quality"], "pass --scoring mean or --scoring centroid"),
        (["identify", "@", "--scoring", "mean", "--quality", "none"], "has no quality between 0 and 1 under"),
    ],
)
def test_mistakes_in_questions(words, sentence, people, bars, capsys):
    words = [bars / "bar0/7.png" if word == "@" else word for word in words]
    assert sentence in refused(capsys, *words, "--gallery", people)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["remove", "*", "bar0/0.png", "none.png"], "item 'none.png' is not in the gallery"),
        (["rename", "*", "none", "x"], "identity 'none' is not in the gallery"),
        (["rename", "*", "bar0", "bar1"], "identity 'bar1' is already in the gallery"),
        (["merge", "*", "bar0", "bar00"], "did you mean 'bar0'?"),
        (["split", "*", "bar0/0.png", "bar1/0.png", "--identity", "x"], "takes items of one identity"),
        (["split", "*", "bar0/0.png"], "required: --identity; see trine gallery split --help"),
        (["list", "*", "none"], "identity 'none' is not in the gallery"),
        (["lost", "*"], "unknown verb 'lost'; did you mean 'list'?"),
        (["stats", "*", "--jso"], "unknown option '--jso'; did you mean '--json'?"),
        (["rebuild", "*"], "required: --encoder; see trine gallery rebuild --help"),
        (["rebuild", "*", "--encoder", "none"], "there is no model folder none"),
    ],
)
def test_mistakes_about_what_is_in_a_gallery(words, sentence, people, capsys):
    before = people.read_bytes()
    words = [people if word == "*" else word for word in words]
    assert sentence in refused(capsys, "gallery", *words)
    assert people.read_bytes() == before


def test_mistakes_about_metadata(people, bars, run, capsys, tmp_path):
    table = tmp_path / "about.csv"
    enrol = ["enrol", run, bars, "--gallery", people, "--metadata"]
    assert "there is no table of items at" in refused(capsys, *enrol, table)
    table.write_text("name,year\nbar0/0.png,2024\n")
    assert "has no column 'item'" in refused(capsys, *enrol, table)
    table.write_text("item,year\n0.png,2024\n")
    assert "has no row for any of the items" in refused(capsys, *enrol, table)
    table.write_text("item,year\nbar0/0.png,2024\nbar0/0.png,2025\n")
    assert "repeats the item 'bar0/0.png' of row 1" in refused(capsys, *enrol, table)
    table.write_text("item,year,year\nbar0/0.png,2024,1\n")
    assert "two columns named 'year'" in refused(capsys, *enrol, table)
    assert "is not a table of items" in refused(capsys, *enrol, "about")
    assert "unbalanced quotes" in refused(capsys, *enrol, 'year="20')
    said = refused(capsys, "enrol", run, bars, "--gallery", people, "--identity", "x", "--label", "y")
    assert "leave --label out" in said
    said = refused(capsys, "enrol", run, bars / "bar0/0.png", "--gallery", people)
    assert "is a single image: name its identity with --identity" in said
    table.write_text("item,year\nbar0/0.png,2024\n")
    assert "about.csv describes 1 of 48 items" in answered(capsys, *enrol, table)
    assert "--identity needs a gallery" in refused(capsys, "verify", "a", "b", "--identity", "x")
    assert "given 2 arguments" in refused(capsys, "verify", "a", "b")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A gallery of forty people with embeddings that were computed elsewhere."""
    path = tmp_path_factory.mktemp("crowd") / "crowd.db"
    rows = np.random.default_rng(0).normal(size=(40, 8))
    with Gallery.open(path, dimension=8, fingerprint="by hand") as gallery:
        gallery.enrol_many(Entry(f"person {i}", f"{i}.png", row) for i, row in enumerate(rows))
    return path


def test_stats_show_the_rate_of_each_threshold(crowd, tmp_path, capsys):
    path = shutil.copy(crowd, tmp_path / "crowd.db")
    shown = answered(capsys, "gallery", "stats", path).splitlines()
    assert shown[0].startswith("40 items of 40 identities")
    assert shown[1] == "no threshold to verify by"
    assert re.fullmatch(
        r"to identify: threshold [\d.]+: about .* of strangers are named, at most .*, provisional; by 40 of "
        r"its own identities, too few for 1 %",
        shown[2],
    )
    assert shown[3].split() == ["of", "strangers", "named", "at", "most", "state", "threshold"]
    with Gallery.open(path) as gallery:
        curve, found = gallery.rates(), gallery.calibration()
    chosen = [curve.threshold(rate) for rate in ROUND_RATES]
    rows = [line.split() for line in shown[4:-1]]
    assert [(row[-2], row[-1]) for row in rows] == [
        (str(each[1].state), f"{each[0]:.3g}") for each in chosen if each is not None
    ]
    assert len(rows) > 5
    assert shown[-1] == "no encoder folder"
    values = json.loads(answered(capsys, "gallery", "stats", path, "--json"))
    assert values["calibration"] == json.loads(json.dumps(found.to_json()))
    assert (values["threshold"], values["identities"]) == (None, 40)
    table = np.array(values["fpir_curve"])
    np.testing.assert_allclose(table, curve.table(points=50))


def test_a_gallery_is_calibrated_and_keeps_it(people, bars, run, capsys, tmp_path):
    said = answered(capsys, "gallery", "calibrate", people, "--fpir", "0.3")
    assert said.startswith(f"{people}: ")
    # All of these people were trained on, so they are no strangers to the encoder.
    with Gallery.open(people, create=False) as gallery:
        gallery.use_encoder(load(run))
        assert said == f"{people}: {gallery.calibration()}\n"
    strangers = tmp_path / "strangers"
    for i in range(4):
        shutil.copytree(bars / f"bar{i}", strangers / f"stranger {i}")
    made = json.loads(
        answered(
            capsys, "gallery", "calibrate", people, "--fpir", "0.3", "--strangers", strangers, "--json",
            "--scoring", "mean", "--top", "2",
        )
    )  # fmt: skip
    assert (made["asked"], made["source"], made["promise"]["identities"]) == (0.3, "strangers", 4)
    with Gallery.open(people, create=False) as gallery:
        kept = gallery.calibration(scoring="mean", top=2)
        assert (kept.threshold, kept.asked) == (made["threshold"], 0.3)
    asked = [bars / "bar1/7.png", "--gallery", people, "--scoring", "mean", "--top", "2", "--json"]
    (answer,) = lines(answered(capsys, "identify", *asked))
    assert answer["threshold"] == made["threshold"]
    assert answer["promise"]["name"] == "fpir"


def test_what_a_calibration_cannot_use_is_said(people, bars, capsys, tmp_path):
    enrolled = tmp_path / "enrolled"
    for i in range(2):
        shutil.copytree(bars / f"bar{i}", enrolled / f"bar{i}")
    said = refused(capsys, "gallery", "calibrate", people, "--strangers", enrolled)
    assert "no stranger is left: all of the data is of identities of the gallery" in said
    assert "fpir must be a number > 0 and < 1, given 2.0" in refused(
        capsys, "gallery", "calibrate", people, "--fpir", "2"
    )
    assert "unknown scoring 'bst': did you mean 'best'" in refused(
        capsys, "gallery", "calibrate", people, "--scoring", "bst"
    )


def test_what_contradicts_the_model_is_printed_as_a_warning(crowd, tmp_path, capsys):
    from trine.cli.gallery import warn

    with Gallery.open(shutil.copy(crowd, tmp_path / "crowd.db"), create=False) as gallery:
        calm = gallery.calibration()
    warn(calm)
    assert capsys.readouterr().err == ""
    warn(replace(calm, warning="the model was calibrated otherwise"))
    assert capsys.readouterr().err == "warning: the model was calibrated otherwise\n"
