"""Is this tree fit for a release? Clean installations, kills, damage, load, many processes.

`make test` checks the code on the contributor's machine. This takes hours
where that takes minutes: it installs into empty environments, kills processes and servers hundreds of times,
damages files, fills disks, and repeats the tests that need several processes.

    python benchmarks/release_check.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from results import keep, timed

ROOT = Path(__file__).resolve().parents[1]
KILLS = ("gallery_kills", "gallery_server_kills")
LOAD = ("gallery", "gallery_server", "gallery_lance")
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="what to check")
    chosen = parser.parse_args().only
    rows: list[dict[str, Any]] = []
    for name in chosen:
        print(f"== {name}", flush=True)
        with timed() as took:
            problem = _problem(CHECKS[name])
        rows.append({"check": name, "passed": problem is None, "problem": problem, "seconds": took.seconds})
        print(f"== {name}: {problem or 'passed'} ({took.seconds:.0f} s)", flush=True)
    arguments = [] if chosen == list(CHECKS) else ["--only", *chosen]
    summary = {row["check"]: f"{row['problem'] or 'passed'} ({row['seconds']:.0f} s)" for row in rows}
    keep("release_check", str(__doc__), rows=rows, summary=summary, arguments=arguments)
    sys.exit(not all(row["passed"] for row in rows))


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except subprocess.CalledProcessError as error:
        return f"{' '.join(map(str, error.cmd))} ended with {error.returncode}"
    except AssertionError as error:
        return str(error)
    return None


def core_alone() -> None:
    """The core installs torch and numpy alone, trains a network, and names the extra that a verb lacks."""
    with tempfile.TemporaryDirectory() as folder:
        python = _environment(Path(folder), "")
        (example,) = re.findall(
            r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.S | re.M
        )
        _run([python, "-W", "error", "-c", example], cwd=folder)
        _run([python, "-m", "trine", "--help"], cwd=folder)
        refused = subprocess.run(
            [python, "-m", "trine", "train", "digits", "--out", "run"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 2, f"training without its extra ended with {refused.returncode}"
        assert "pip install 'trine[" in refused.stderr, f"no command to install in: {refused.stderr}"


def demo_in_a_clean_environment() -> None:
    """What README promises a newcomer: the demo runs with three extras."""
    with tempfile.TemporaryDirectory() as folder:
        python = _environment(Path(folder), "[images,train,gallery]")
        _run([python, "-m", "trine", "demo"], cwd=folder)


def distributions() -> None:
    """The wheel and the source distribution are built, and the wheel holds the recipes."""
    with tempfile.TemporaryDirectory() as folder:
        _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT])
        (wheel,) = Path(folder).glob("trine-*.whl")
        listed = subprocess.run(
            [sys.executable, "-m", "zipfile", "--list", wheel], capture_output=True, text=True, check=True
        ).stdout
        assert "trine/recipes/default.yaml" in listed, "the wheel lacks the recipes"
        assert "trine/py.typed" in listed, "the wheel lacks py.typed"


def kills() -> None:
    """Kills processes and servers, and cuts the power, while galleries are written and models trained."""
    for name in KILLS:
        _run([sys.executable, f"benchmarks/{name}.py"])
    _test("tests/gallery", "-k", "lance")
    for _ in range(REPEATS):
        _test("tests/training", "-k", "kill or reliab or resum")


def damage() -> None:
    """Damaged files are refused, full disks survived, each several times."""
    for _ in range(REPEATS):
        _test("tests", "-k", "damage or full_disk or power or unfinished or repair")


def load() -> None:
    """Galleries of 100,000 rows in a file and on a server, and many clients at once."""
    for name in LOAD:
        _run([sys.executable, f"benchmarks/{name}.py"])
    for _ in range(REPEATS):
        _test("tests/gallery", "-k", "at_once or processes")


def clusters_of_processes() -> None:
    """Losses, memories and training in several processes equal one process, every time."""
    for _ in range(REPEATS):
        _test("tests/losses", "tests/training", "-k", "process or distributed")


def ray() -> None:
    """What Ray does equals one process, also when a node is killed in the middle."""
    _run([sys.executable, "-m", "pytest", "-q", "tests/on_ray", "tests/pipelines/test_find_faces.py"])


def kernels() -> None:
    """No result depends on the width of a SIMD register."""
    _run([sys.executable, "tests/support/simd.py"])


def inputs() -> None:
    """Thousands of generated tables, labels, pictures and folders are read or refused in one sentence."""
    _test("tests/data", "-k", "generated")


def recipes() -> None:
    """The recipes do on real data what they say, also those whose tests are long."""
    _test("tests/recipes")


CHECKS: dict[str, Callable[[], None]] = {
    "distributions": distributions,
    "core-alone": core_alone,
    "demo": demo_in_a_clean_environment,
    "kernels": kernels,
    "inputs": inputs,
    "recipes": recipes,
    "processes": clusters_of_processes,
    "ray": ray,
    "damage": damage,
    "kills": kills,
    "load": load,
}


def _environment(folder: Path, extras: str) -> str:
    """Makes an empty virtual environment with trine in it, and returns its Python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    target = f"trine{extras} @ {ROOT.as_uri()}"
    _run([python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", target])
    return str(python)


def _test(*arguments: str) -> None:
    _run([sys.executable, "-m", "pytest", "-q", "-n", "2", *arguments])


def _run(command: Sequence[str | Path], *, cwd: str | Path = ROOT) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" or cwd == ROOT}
    environment["TRINE_THOROUGH"] = "1"  # read by tests/support/effort.py
    subprocess.run(command, cwd=cwd, env=environment, check=True)


if __name__ == "__main__":
    main()
