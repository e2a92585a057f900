"""Steps under `torch.compile`: the values of plain ones, and no word from the compiler."""

import ast
import subprocess
import sys

from support.paths import ROOT


def test_compiled_steps_are_plain_ones_without_warnings():
    script = ROOT / "tests/support/compiled_steps.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.stderr == ""
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert len(lines) == 10
    for name, plain, compiled in lines:
        assert compiled == plain, name
        assert all(value > 0 for value in ast.literal_eval(plain)), name
