"""`trine audit`: suspects first."""

import csv
import shutil

from support.browser import check_fits_a_phone
from support.commands import answered, refused


def test_audit_lists_what_lies_among_others(run, bars, capsys, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(bars, mixed)
    shutil.copy(mixed / "bar2/3.png", mixed / "bar4/odd.png")
    page = tmp_path / "suspects.html"
    out = answered(
        capsys, "audit", run, mixed, "--out", tmp_path / "suspects.csv", "--page", page, "--top", "3"
    )
    lines = out.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("score"))
    first, second = lines[head + 1 : head + 3]
    assert {first.split()[1], second.split()[1]} == {"bar2/3.png", "bar4/odd.png"}
    assert "nearly identical to" in first
    rows = list(csv.DictReader((tmp_path / "suspects.csv").read_text().splitlines()))
    assert list(rows[0]) == ["item", "label", "looks_like", "score", "evidence"]
    assert {(row["item"], row["label"], row["looks_like"]) for row in rows[:2]} == {
        ("bar2/3.png", "bar2", "bar4"),
        ("bar4/odd.png", "bar4", "bar2"),
    }
    assert float(rows[0]["score"]) == 1
    shown = page.read_text(encoding="utf-8")
    assert shown.count("<img") == 3 * 6
    assert "bar4? 1.00" in shown
    assert "nearly identical to bar4/odd.png of bar4" in shown
    assert "Some of these items were trained on" in shown
    assert "24 of them trained on (48 items" in answered(capsys, "audit", run, bars)
    sentence = refused(capsys, "audit", run, bars, "--out", tmp_path / "suspects.txt")
    assert "output must end in .csv" in sentence
    assert "output must end in .html" in refused(capsys, "audit", run, bars, "--page", tmp_path / "page.txt")
    assert "top must be at least 1, given 0" in refused(capsys, "audit", run, bars, "--top", "0")
    assert "unknown part 'tests'" in refused(capsys, "audit", run, bars, "--part", "tests")
    check_fits_a_phone(page)
