"""Does damage give a sentence?

Thousands of random changes (1 to 64 bits, cuts, pages that are swapped, zeroed or doubled, values of JSON
and cells of galleries that do not fit) of galleries, model and run folders, checkpoints, Parquet, npz and
CSV files and pictures, each followed by a verb or a call that reads what was changed, in a process that
stays alive. It must end within 10 s, with a documented exit code and one sentence instead of a traceback,
within 1 GiB of memory; what only reads must leave the file as it was, and what writes must keep every item
that was readable. `tests/test_damage.py` does the same 500 times. Damage is drawn from a seed: the same
number is the same trial.

    python benchmarks/damage.py [--trials 10000] [--first 0]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import keep, timed

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import damage, damage_cases

SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    chosen = parser.parse_args()
    wrong: list[dict[str, Any]] = []
    codes: dict[str, Counter[int]] = {}
    with tempfile.TemporaryDirectory() as folder, timed() as took:
        everything = Path(folder) / "everything"
        damage_cases.make(everything)
        numbers = range(chosen.first, chosen.first + chosen.trials)
        for done in damage.trials(everything, numbers, seed=SEED):
            codes.setdefault(done.case, Counter())[done.code] += 1
            if done.problem:
                wrong.append(asdict(done))
                print(wrong[-1], flush=True)
    total: Counter[int] = sum(codes.values(), Counter())
    summary = {
        "trials": total.total(),
        "a sentence (exit code 2)": total[2],
        "read or written as far as it was sound (0)": total[0],
        "problems found by check (1)": total[1],
        "tracebacks, hangs, memory, losses": len(wrong),
        "seconds for each": took.seconds / max(total.total(), 1),
    }
    cases = [{"case": name, **{f"exit {code}": count for code, count in sorted(found.items())}}
             for name, found in codes.items()]  # fmt: skip
    arguments = [] if chosen.trials == 10_000 else ["--trials", chosen.trials]
    keep("damage", str(__doc__), rows=[*wrong, *cases], summary=summary, arguments=arguments)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
