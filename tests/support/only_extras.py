"""Runs trine's command line where nothing is installed but the core, some extras, and what they need."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from support.paths import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
SCRIPT = """
import json, sys
from importlib.machinery import PathFinder
hidden, words = map(json.loads, sys.argv[1:])
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: None if name.split(".")[0] in hidden else found(name, *where)
from trine.cli import main
sys.exit(main(words))
"""


def run_with(extras: tuple[str, ...], words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command line in a folder, with these extras alone."""
    named = [name for extra in extras for name in EXTRAS[extra]]
    kept = {"trine"}.union(*(_needs(_name(text)) for text in ["torch", "numpy", *named]))
    tops = metadata.packages_distributions()
    hidden = [top for top, owners in tops.items() if kept.isdisjoint(map(_plain, owners))]
    command = [sys.executable, "-c", SCRIPT, json.dumps(hidden), json.dumps(words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name(requirement: str) -> str:
    return _plain(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def _needs(name: str, seen: set[str] | None = None) -> set[str]:
    """A package and all that it needs."""
    seen = set() if seen is None else seen
    if name not in seen:
        seen.add(name)
        try:
            listed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            listed = []
        for requirement in listed:
            if "extra ==" not in requirement:
                _needs(_name(requirement), seen)
    return seen
