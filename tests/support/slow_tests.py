"""Measures which tests are slow, for `make check` to leave out.

    python -m pytest -n 2 --junitxml durations.xml
    python tests/support/slow_tests.py durations.xml

The first run tries everything, the second writes the slowest functions to tests/slow.txt: all but as many,
fastest first, as fit in the time that `make check` has. A test that the file does not name is fast.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
LIST = TESTS / "slow.txt"
SECONDS = 120.0
"""What the fast tests may take together, in one process."""
LONGEST = 2.0
"""What a function may take with all its parameters and count as fast."""


def slow_functions() -> frozenset[str]:
    """Returns the functions listed in tests/slow.txt, such as `tests/gallery/test_power_loss.py::test_x`."""
    lines = LIST.read_text("utf-8").splitlines() if LIST.is_file() else []
    return frozenset(line.split()[0] for line in lines if line and not line.startswith("#"))


def durations(report: Path) -> dict[str, float]:
    """Returns the seconds of each test function, all parameters together, from a report in JUnit's format."""
    found: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(report).iter("testcase"):
        *folders, last = case.get("classname", "").split(".")
        in_class = last[:1].isupper()
        path = "/".join(folders if in_class else [*folders, last]) + ".py" + f"::{last}" * in_class
        found[f"{path}::{case.get('name', '').partition('[')[0]}"] += float(case.get("time", 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("report", type=Path, help="a report of all tests in JUnit's format")
    seconds, slow, total = durations(parser.parse_args().report), [], 0.0
    for name, taken in sorted(seconds.items(), key=lambda each: each[1]):
        total += taken
        if taken > LONGEST or total > SECONDS:
            slow.append(f"{name} {taken:.1f}")
    head = "# Tests that `make check` leaves out, and their seconds; written by tests/support/slow_tests.py."
    LIST.write_text("\n".join([head, *sorted(slow)]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
