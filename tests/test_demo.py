"""`trine demo`, end to end."""

import json
import re

import pytest

from trine.demo import demo


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(tmp_path):
    (tmp_path / "demo").mkdir()
    said = []
    folder = demo(tmp_path / "demo", echo=lambda line: said.append(str(line)))
    text = "\n".join(said)
    assert folder == tmp_path / "demo-2", "what was there before is left alone"

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
    commands = re.findall(r"^  (trine .+)$", "\n".join(said), re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["identify", "evaluate", "train"]
