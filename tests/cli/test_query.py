"""The verbs that ask a gallery."""

import re

import numpy as np
import pytest

from support.commands import answered, refused


def test_gallery_verbs_answer_in_words(run, bars, capsys, tmp_path):
    people = tmp_path / "people"
    assert "48 items of 6 identities" in answered(capsys, "enrol", run, bars, "--gallery", people)
    again = answered(capsys, "enrol", run, bars, "--gallery", people)
    assert "48 items of 6 identities" in again
    probe = bars / "bar2/0.png"
    assert re.search(
        r"0.png: no verdict: the nearest is bar2 at 0\.0|0.png: this is bar2 \(distance 0\.0",
        answered(capsys, "identify", probe, "--gallery", people),
    )
    named = answered(capsys, "identify", probe, "--gallery", people, "--threshold", "0.5")
    assert re.search(r"0.png: this is bar2 \(distance 0\.0", named)
    stranger = answered(capsys, "identify", bars / "bar1/0.png", "--gallery", people, "--threshold", "0")
    assert "bar1" in stranger
    hits = answered(capsys, "search", probe, "--gallery", people, "-k", "3").splitlines()
    assert len(hits) == 3
    assert hits[0].endswith("bar2  bar2/0.png")
    assert answered(capsys, "verify", run, probe, probe).startswith("the same")
    assert answered(capsys, "verify", run, probe, bars / "bar5/1.png", "--threshold", "0").startswith(
        "different"
    )


def test_a_gallery_on_a_server_is_named_by_its_address(capsys, run, bars):
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'trine[pgvector]'")
    from support import postgres_server

    address = postgres_server.a_gallery("exact").replace("postgres:@", "postgres:s3cret@")
    try:
        said = answered(capsys, "enrol", run, bars, "--gallery", address)
        assert "holds 48 items of 6 identities" in said
        assert "postgresql://postgres@/postgres?host=" in said
        assert "s3cret" not in said
        picture = bars / "bar2" / "3.png"
        assert "bar2/3.png" in answered(capsys, "search", picture, "--gallery", address, "-k", "1")
        found = answered(capsys, "identify", picture, "--gallery", address, "--threshold", "0.1")
        assert "this is bar2" in found
    finally:
        postgres_server.drop(address)
    missing = refused(capsys, "identify", picture, "--gallery", address)
    assert "the gallery postgresql://postgres@/" in missing
    assert "does not exist" in missing
    assert "s3cret" not in missing


def test_rows_are_enrolled_and_asked_about(capsys, tmp_path):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 12)
    rows = random.normal(size=(6, 5))[labels] + 0.2 * random.normal(size=(72, 5))
    table = tmp_path / "rows.csv"
    lines = [",".join([f"kind{y}", *map(str, row)]) for y, row in zip(labels, rows, strict=True)]
    table.write_text("\n".join(["kind,a,b,c,d,e", *lines]) + "\n")
    run, gallery = tmp_path / "run", tmp_path / "kinds"
    answered(capsys, "train", table, "--label", "kind", "--out", run, "--set", "training.steps=20")
    answered(capsys, "enrol", run, table, "--label", "kind", "--gallery", gallery)
    probes = tmp_path / "probes.csv"
    probes.write_text("a,b,c,d,e\n" + "\n".join(",".join(map(str, row)) for row in rows[[0, 30]]) + "\n")
    asked = ["identify", probes, "--gallery", gallery]
    assert "row 1: no verdict: the nearest is kind0 at 0." in answered(capsys, *asked)
    first, second = answered(capsys, *asked, "--threshold", "0.5").splitlines()
    assert first.startswith("row 1: this is kind0")
    assert second.startswith("row 2: this is kind2")
    assert "kind0" in answered(capsys, "search", probes, "--gallery", gallery, "-k", "2").splitlines()[1]


def test_mistakes_about_galleries(capsys, run, bars, tmp_path):
    missing = refused(capsys, "identify", bars / "bar0/0.png", "--gallery", tmp_path / "none")
    assert "does not exist" in missing
    assert "enrol" in missing
    answered(capsys, "enrol", run, bars, "--gallery", tmp_path / "g")
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    assert "text.jpg" in refused(capsys, "identify", text, "--gallery", tmp_path / "g")
    assert "nowhere.jpg" in refused(capsys, "verify", run, bars / "bar0/0.png", "nowhere.jpg")
