"""`trine demo`, end to end, and the commands of the tutorial, which go on from there."""

import json
import re
import shlex
from pathlib import Path

import pytest

from support.paths import ROOT
from trine.cli import main
from trine.demo import demo, free_folder


def test_what_was_there_before_is_left_alone(tmp_path):
    assert free_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    assert free_folder(tmp_path / "demo") == tmp_path / "demo-2"


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = []
    folder = demo(echo=lambda line: said.append(str(line)))
    assert str(folder) == "runs/demo"
    text = "\n".join(said)
    figures = json.loads((folder / "metrics.json").read_text())
    before, after = figures["before_training"]["retrieval"], figures["after_training"]["retrieval"]
    assert before["queries"] == after["queries"] == 719
    assert after["map_at_r"] > before["map_at_r"] + 0.3
    assert re.search(rf"MAP@R +{before['map_at_r']:.3f} +{after['map_at_r']:.3f} +\(", text)

    for name in ("model/weights.safetensors", "report.html", "picture.png", "digits.db", "probe.png"):
        assert (folder / name).stat().st_size > 0
    assert "who is this 3?  this is 3 (distance" in text
    assert "a 3 and an 8:  different (distance" in text
    counted = (
        r"unseen images: (\d+) of (\d+) of enrolled digits are identified correctly, "
        r"(\d+) of (\d+) of the digit 9 are rejected as unknown"
    )
    found = re.search(counted, text)
    assert found is not None
    identified, enrolled, rejected, unknown = map(int, found.groups())
    # Two folds saw five digits each, so the threshold for strangers is a careful one.
    assert identified > 0.7 * enrolled
    assert rejected > 0.9 * unknown
    commands = re.findall(r"^  (trine .+)$", text, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["identify", "evaluate", "train"]
    the_tutorial_goes_on(capsys)


def the_tutorial_goes_on(capsys):
    """Its commands use the folder of the demo, which takes a minute to make."""
    page = (ROOT / "docs/tutorial.md").read_text("utf-8")
    lines = "".join(re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)).splitlines()
    assert len(lines) == 4
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, line
    said = capsys.readouterr().out
    assert "runs/demo/probe.png: this is 3 (distance" in said
    assert "no problems detected in training" in said
    assert "labels are probably wrong" in said
    assert Path("suspects.html").is_file()
