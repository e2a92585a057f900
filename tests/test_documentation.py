"""The documentation is true: its Python and its command lines run, its names exist, its site needs no net."""

import json
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from support.bars import bars
from support.browser import chromium, opened
from support.paths import ROOT
from trine import mine
from trine.cli import main
from trine.cli.parser import parse
from trine.cli.verbs import TRINE
from trine.errors import SettingError

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(DOCS.rglob("*.md"))


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def page_name(page):
    return page.relative_to(DOCS).as_posix()


def run_lines(page):
    """Runs the command lines of a page in this process, which spares each the start of torch."""
    for line in "".join(blocks("bash", page)).splitlines():
        verb = shlex.split(line.partition("#")[0])
        assert verb.pop(0) == "trine", line
        if verb[0] == "train" and "training.steps" not in line:
            verb += [] if "--set" in verb else ["--set"]
            verb += ["training.steps=5"]  # the command of a reader takes the steps of the recipe
        assert main(verb) == 0, line


def test_readme_is_short():
    assert len(README.splitlines()) <= 120
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 32


def test_readme_example_runs():
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.findall(r"MAP@R (\S+)", done.stdout))
    assert before < 0.1
    assert after > 0.4


@pytest.mark.slow
def test_readme_command_lines_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_lines(README)
    assert (tmp_path / "runs/digits/model/weights.safetensors").is_file()
    assert (tmp_path / "runs/digits/report.html").is_file()
    assert (tmp_path / "people.db").is_file()


def test_readme_figures_are_those_of_the_results():
    rows = re.findall(r"^\|(.+)\| `(benchmarks/\w+)\.py` \|$", README, re.MULTILINE)
    assert len(rows) == 7
    for cells, script in rows:
        kept = (ROOT / f"benchmarks/results/{Path(script).name}.md").read_text("utf-8")
        known = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", kept)]
        task, trine, others = cells.split("|")
        for number, decimals in re.findall(r"(?<![\w.@,])(\d+(?:\.(\d+))?)(?= |,|$)", f"{trine}; {others}"):
            digits = len(decimals)
            assert any(f"{value:.{digits}f}" == number for value in known), f"{task}: {number}"


def test_readme_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert len(targets) > 10
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """What the how-to pages call photos/ and new.png."""
    image = pytest.importorskip("PIL.Image")
    root, data = tmp_path_factory.mktemp("howto"), bars(identities=12, items=6)
    for at in range(len(data)):
        folder = root / "photos" / data.identity(at).rpartition(" ")[2]
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.squeeze(data.items[at])).save(folder / f"{at}.png")
    image.fromarray(np.squeeze(data.items[7])).save(root / "new.png")
    return root


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name == "howto" and blocks("bash", page.read_text())],
    ids=page_name,
)
def test_command_lines_on_the_pages_run(page, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    run_lines(page.read_text(encoding="utf-8"))
    assert "Traceback" not in capsys.readouterr().err


def command_lines(page):
    """The command lines of a page that are shown but not run: words after `trine`."""
    shown = re.findall(
        r"^    (?:torchrun \S+ \S+ -m |srun |python -m )?trine (.+)$", page.replace("\\\n", " "), re.MULTILINE
    )
    for line in (part for whole in shown for part in re.split(r"\s{3,}trine ", whole)):
        command = re.split(r" #| > |&&|\|", line)[0]
        if "..." not in command and "VERB" not in command:
            yield shlex.split(command)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_command_lines_on_the_pages_are_understood(page):
    for words in command_lines(page.read_text(encoding="utf-8")):
        try:
            parse(words, TRINE, prog="trine", version="0")
        except (SettingError, SystemExit) as error:
            raise AssertionError(f"trine {shlex.join(words)}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_on_the_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(blocks("python", page.read_text(encoding="utf-8"))), encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_names_on_the_pages_exist(page):
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        pkgutil.resolve_name(name)


def test_every_page_is_in_the_navigation_and_no_page_is_empty():
    listed = re.findall(r"[\w/-]+\.md", json.dumps(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == sorted(map(page_name, PAGES))


def test_the_picture_to_play_with_selects_what_trine_selects():
    random = np.random.default_rng(0)
    points = [
        {"x": x, "y": y, "identity": int(k)}
        for (x, y), k in zip(random.normal(size=(18, 2)).tolist(), random.integers(0, 4, 18), strict=True)
    ]
    at = torch.tensor([[one["x"], one["y"]] for one in points], dtype=torch.float64)
    labels = torch.tensor([one["identity"] for one in points])
    rules = ("all", "hard", "semihard", "semihard-strict", "semihard-band")
    with chromium() as browser, opened(browser, (DOCS / "play/mining.html").as_uri(), size="phone") as page:
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        for rule in (*rules, "easy-positive-hard", "easy-positive-semihard"):
            page.select_option("#rule", rule)
            assert page.text_content("#says").startswith(f"{rule}: ")
            shown = page.evaluate("([p, r]) => p.flatMap((_, i) => triplets(p, i, r, 0.5))", [points, rule])
            found = mine(at, labels, mining=rule, margin=0.5)
            own = torch.stack([found.anchor, found.positive, found.negative], 1).tolist()
            assert sorted(shown) == sorted(own), rule


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, as `make docs` left it or, if anything has changed since, built anew."""
    built = Path(sys.prefix) / "site"
    sources = [ROOT / "mkdocs.yml", ROOT / "CHANGELOG.md", *DOCS.rglob("*"), *(ROOT / "src").rglob("*.py")]
    newest = max(path.stat().st_mtime for path in sources)
    if (built / "index.html").is_file() and (built / "index.html").stat().st_mtime > newest:
        return built
    built = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", built],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return built


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    outside = r"""(?:src|srcset|poster|data)=["']?\s*(?:https?:)?//|<link[^>]+href=["']?(?:https?:)?//"""
    for page in pages:
        assert re.search(outside, page.read_text("utf-8")) is None, page
    for sheet in site.rglob("*.css"):
        assert re.search(r"url\([\"']?(?:https?:)?//|@import", sheet.read_text("utf-8")) is None, sheet
    with chromium() as browser:
        asked = []
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index", "tutorial", "mathematics", "gallery"):
            page.goto((site / f"{name}.html").as_uri())
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, name
        # The search works from disk, without a server.
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto((site / "index.html").as_uri())
        page.click("[data-md-component=search-query]")
        page.wait_for_function("document.querySelector('iframe') !== null")
        page.type("[data-md-component=search-query]", "semihard", delay=20)
        page.wait_for_selector(".md-search-result__item", state="attached")
        assert [address for address in asked if not address.startswith(("file:", "data:"))] == []


def test_make_has_the_two_commands_of_the_readme():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^    make ([a-z]+)", README, re.MULTILINE)) <= targets
    assert "make test" in (ROOT / ".ci/run").read_text()
