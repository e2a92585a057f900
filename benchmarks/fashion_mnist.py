"""What does the default recipe reach on Fashion-MNIST, with seen classes, and in what time?

Trains on the 60,000 training pictures and looks at the 10,000 test pictures; no setting is changed.

    python benchmarks/fashion_mnist.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from results import keep, machine
from trine.data import load
from trine.run import train_run
from trine.training import load_recipe


def main() -> None:
    with machine() as took, tempfile.TemporaryDirectory() as out:
        data, report = load("fashion-mnist")
        print(report, flush=True)
        found = train_run(data, load_recipe("default"), out=Path(out) / "run")
    print(found)
    assert found.before is not None
    before, after = found.before.headline(0.01), found.after.headline(0.01)
    row = {"seed": 0, "seconds": took.seconds} | {f"raw {k}": v for k, v in before.items()} | after
    keep("fashion_mnist", __doc__, rows=[row], summary=row)


if __name__ == "__main__":
    main()
