"""A type checker sees what trine returns, and objects to wrong settings, with torch and numpy alone."""

import re
import subprocess
import sys
from typing import get_args

import pytest

from support.paths import ROOT
from trine.triplets import PRESETS, MiningRule

SCRIPT = ROOT / "tests/support/user_types.py"
SAID = re.compile(r".*user_types\.py:(\d+): (?:error: .*\[(.+)\]|note: Revealed type is \"(.*)\")")


def test_rules_are_the_presets():
    assert set(get_args(MiningRule)) == set(PRESETS)


def test_a_script_of_a_user_is_checked():
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", SCRIPT]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    found = {}
    for line in said.splitlines():
        if match := SAID.fullmatch(line):
            number, error, kind = match.groups()
            # Types are shown with their modules.
            found[int(number)] = (
                f"error: {error}" if error else "type: " + re.sub(r"[\w.]+\.(\w+)", r"\1", kind)
            )
    expected = {
        number: line.rpartition("  # ")[2]
        for number, line in enumerate(SCRIPT.read_text("utf-8").splitlines(), 1)
        if re.search(r"\)  # (error|type): .+$", line)
    }
    assert found == expected, said
    assert len(expected) > 35
