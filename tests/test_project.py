"""The files around the code: the version, the lanes of the Makefile, CI, hooks, CONTRIBUTING.md."""

import re
import runpy
import subprocess
import sys
import tomllib

import pytest
import yaml

import trine
from support.paths import ROOT
from support.slow_tests import durations, slow_functions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "src/trine/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", trine.__version__)
    tracked = subprocess.run(
        ["git", "grep", "-lF", f'version = "{trine.__version__}"', "--", ":!tests"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert not tracked.stdout.split(), tracked.stdout


@pytest.mark.parametrize("address", [None, "https://host.example/trine/"])
def test_the_description_of_the_package_has_no_broken_links(address):
    absolute_links = runpy.run_path(str(ROOT / "hatch_build.py"))["absolute_links"]
    text = absolute_links((ROOT / "README.md").read_text("utf-8"), address)
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert "The [tutorial](https://host.example/trine/blob/main/docs/tutorial.md)" in text or address is None
    assert ("](https://host.example/trine/raw/main/docs/page.webp)" in text) == (address is not None)
    assert "The tutorial goes the same way" in text or address is not None
    assert "photos/     # one subfolder" in text


def test_every_lane_is_a_target():
    assert {"check", "test", "release-check", "simd", "slow", "results"} <= TARGETS
    assert set(re.findall(r"`make ([a-z-]+)`", CONTRIBUTING)) <= TARGETS


def test_ci_runs_the_tests_and_installs_what_it_lists():
    run = (ROOT / ".ci/run").read_text("utf-8")
    assert run.splitlines()[-1] == "make test"
    assert ".ci/packages" in run
    packages = (ROOT / ".ci/packages").read_text("utf-8")
    for line in packages.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", line), line


def test_hooks_need_no_network():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    for repository in hooks["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            assert hook["entry"].startswith(".venv/bin/")


def test_what_contributing_names_exists():
    for name in re.findall(r"`([\w/]+(?:\.\w+|/))`", CONTRIBUTING):
        places = (ROOT / name, ROOT / "src/trine" / name, ROOT / "src/trine/recipes" / name)
        assert "NAME" in name or any(place.exists() for place in places), name


def test_the_release_check_runs_scripts_and_tests_that_exist():
    text = (ROOT / "benchmarks/release_check.py").read_text("utf-8")
    for group in re.findall(r"^(?:KILLS|LOAD) = \((.+)\)$", text, re.MULTILINE):
        for name in re.findall(r'"(\w+)"', group):
            assert (ROOT / f"benchmarks/{name}.py").is_file(), name
    for name in re.findall(r'"((?:tests|benchmarks)[\w/.]*)"', text):
        assert (ROOT / name).exists(), name


def test_slow_tests_are_functions_that_exist():
    for name in slow_functions():
        path, _, function = name.partition("::")
        text = (ROOT / path).read_text("utf-8")
        generated = path.startswith("src/") or "::" in function
        assert generated or f"def {function}(" in text, f"{name}: run `make slow`"


def test_seconds_of_all_parameters_are_added(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.a.test_b" name="test_c[1]" time="1.5" />'
        '<testcase classname="tests.a.test_b" name="test_c[2]" time="2" />'
        '<testcase classname="tests.a.test_b.TestD" name="test_e" time="1" /></testsuite></testsuites>'
    )
    assert durations(report) == {"tests/a/test_b.py::test_c": 3.5, "tests/a/test_b.py::TestD::test_e": 1}


@pytest.mark.parametrize("folder", ["/nowhere", str(ROOT / "examples")])
def test_code_is_counted_for_any_folder(folder):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/code_size.py", folder], capture_output=True, text=True
    )
    if folder == "/nowhere":
        assert done.returncode != 0
        assert "/nowhere has no Python files" in done.stderr
    else:
        assert "| files | 7 |" in done.stdout


def test_the_tests_of_what_is_promised_exist():
    text = (ROOT / "docs/security.md").read_text("utf-8")
    named = re.findall(r"`((?:tests|benchmarks)/[\w/.]*)`", text)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_package_that_an_extra_installs_has_its_licence_listed():
    extras = PROJECT["project"]["optional-dependencies"]
    wanted: dict[str, list[str]] = {}
    for extra, named in [("all of trine", PROJECT["project"]["dependencies"]), *extras.items()]:
        if extra not in ("all", "dev", "benchmarks"):
            for requirement in named:
                wanted.setdefault(re.match(r"[\w.-]+", requirement)[0], []).append(extra)
    page = (ROOT / "docs/licences.md").read_text("utf-8")
    listed = re.findall(r"^\| ([\w.-]+) \| ([\w ,]+) \| \S.* \|$", page, re.MULTILINE)
    assert {name: said.split(", ") for name, said in listed if name != "package"} == wanted
