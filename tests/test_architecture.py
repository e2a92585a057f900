"""The tree follows the data: imports point one way, never in a circle, and no old name is left."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trine
from support.paths import FIXTURES, ROOT
from trine.distances import DISTANCES

SOURCE = Path(trine.__file__).parent
ORDER = [
    *(
        "display",
        "plain_json",
        "errors",
        "plain_yaml",
        "eager",
        "interruption",
        "migrations",
        "settings",
        "shapes",
        "labels",
        "cosine",
    ),
    *("distances", "triplets", "beta", "rates", "strangers", "calibration", "neighbours", "ranking"),
    *(
        "clustering",
        "cluster_threshold",
        "io",
        "data",
        "model",
        "faces",
        "encoders",
        "engine",
        "mining",
        "losses",
    ),
    *(
        "training",
        "evaluation",
        "report",
        "gallery",
        "client",
        "estimators",
        "pipelines",
        "on_ray",
        "service",
    ),
    *("demo", "cli", "__main__"),
]
"""The packages and modules of trine; each imports only from those before it."""
CORE = {"torch", "numpy", "trine"}
OPTIONAL_EVERYWHERE = {"jaxtyping"}  # tried by trine.shapes, and not needed
SERVE = {"anyio", "fastapi", "prometheus_client", "pydantic", "starlette"}
"""What the service imports at its top: `trine serve` asks for the extra before it imports the service."""
NEEDED_FIRST = {"service/__init__.py", "service/keys.py", "service/settings.py", "service/state.py"}
"""Modules of the service that work without the extra, for `trine keys`."""


@functools.cache
def modules():
    return [(path, ast.parse(path.read_text("utf-8"))) for path in sorted(SOURCE.rglob("*.py"))]


def imports(tree):
    """Yields every imported name: at the top, inside functions and for the type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            yield node.module


def test_every_package_has_its_place_in_the_order():
    packages = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path, _ in modules()}
    assert packages - {"__init__"} <= set(ORDER)


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path, _ in modules()}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_imports_point_one_way():
    wrong = set()
    for path, tree in modules():
        package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if package == "__init__":
            continue
        for name in imports(tree):
            if name.startswith("trine.") and ORDER.index(name.split(".")[1]) > ORDER.index(package):
                wrong.add(f"{path.relative_to(SOURCE)} imports {name}")
    assert wrong == set()


@pytest.fixture
def code_size(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import code_size

    return code_size


def test_no_import_circles(code_size):
    assert code_size.circles(code_size.imports(code_size.read_modules(SOURCE.parent))) == []


def test_a_circle_is_found_wherever_the_import_stands(code_size, tmp_path):
    (tmp_path / "package").mkdir()
    for name, text in {
        "__init__": "",
        "a": "from package import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.c import C",
        "c": "class C:\n    def f(self):\n        import package.a",
        "d": "import package.a",
    }.items():
        (tmp_path / f"package/{name}.py").write_text(text)
    graph = code_size.imports(code_size.read_modules(tmp_path))
    assert code_size.circles(graph) == [["package.a", "package.b", "package.c"]]


def texts():
    """Yields every text of the project but records of the past and the module that reads old files."""
    folders = ("src", "tests", "docs", "examples", "benchmarks")
    past = {ROOT / "docs/decisions.md", ROOT / "CHANGELOG.md", SOURCE / "migrations.py", Path(__file__)}
    past.add(ROOT / "tests/test_migrations.py")
    listed = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    for path in [*listed, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        if path.suffix not in (".py", ".md", ".yaml") or path in past:
            continue
        if not path.is_relative_to(FIXTURES) and not path.is_relative_to(ROOT / "benchmarks/results"):
            yield path.relative_to(ROOT), path.read_text("utf-8")


def test_no_module_of_the_old_tree_is_named():
    old = [name for name in (FIXTURES / "707ac2e/modules.txt").read_text().split() if not exists(name)]
    assert len(old) > 100
    dotted = "|".join(sorted(map(re.escape, old), key=len, reverse=True))
    slashed = dotted.replace(r"\.", "/")
    pattern = re.compile(rf"\b(?:{dotted})\b(?!\()|\b(?:{slashed})(?:\.py|/)")
    assert [f"{path}: {found[0]}" for path, text in texts() for found in pattern.finditer(text)] == []


OLD_NAMES = """
    merit network_rate figures\\.json World ALONE Looks(?=[(\\].:]) RunFolder Patient Confusions Vitals
    Towers(Settings|Step|Batches)? Suggestion Shelf Judged Subject subject_of Claim NamedIdentities
    Judge Witness WAYS through_tiles
"""
"""Distinctive names that the project no longer uses, as regular expressions. This list only ever grows."""


def test_no_old_name_is_left():
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(OLD_NAMES.split())})(?![\w-])")
    found = {f"{path}: {match[0]}" for path, text in texts() for match in pattern.finditer(text)}
    assert found <= {"README.md: figures.json"}


def exists(module):
    path = SOURCE.parent / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_only_torch_and_numpy_are_imported_at_the_top():
    wrong = []
    for path, tree in modules():
        place = path.relative_to(SOURCE).as_posix()
        served = SERVE if place.startswith("service/") and place not in NEEDED_FIRST else set()
        for node in tree.body:
            for name in imports(ast.Module([node], [])) if not guarded(node) else ():
                top = name.split(".")[0]
                if top not in CORE | OPTIONAL_EVERYWHERE | served and top not in sys.stdlib_module_names:
                    wrong.append(f"{path.relative_to(SOURCE)} imports {name} at its top")
    assert not wrong


def guarded(node):
    """Whether a top-level statement is code that runs later, or for the type checker alone."""
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return typing_only or isinstance(node, ast.FunctionDef | ast.ClassDef)


def test_no_module_but_the_engine_tells_distances_apart_by_name():
    wrong = set()
    for path, tree in modules():
        place = path.relative_to(SOURCE).as_posix()
        if place == "distances.py" or place.startswith("engine/"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare | ast.Subscript):
                names = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}
                if not names.isdisjoint(DISTANCES) and "distance" in ast.unparse(node):
                    wrong.add(f"{place}: {ast.unparse(node)}: ask trine.distances.PROPERTIES")
    assert wrong == set()


def test_export_list_is_sorted_and_true():
    assert trine.__all__ == in_order(trine.__all__)
    assert set(trine.__all__) == set(trine._HOME)
    for name in trine.__all__:
        assert getattr(trine, name) is not None
    typed = [
        alias.name
        for node in ast.walk(ast.parse((SOURCE / "__init__.py").read_text()))
        if isinstance(node, ast.If)
        for inner in node.body
        if isinstance(inner, ast.ImportFrom)
        for alias in inner.names
    ]
    assert in_order(typed) == trine.__all__


def test_every_name_that_is_imported_from_the_package_exists():
    missing = set()
    for path, text in texts():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("trine."):
                missing.update(
                    f"{path}: {node.module}.{alias.name}"
                    for alias in node.names
                    if not is_importable(node.module, alias.name)
                )
    assert missing == set()


@functools.cache
def is_importable(module, name):
    try:
        found = hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return False
    return found or exists(f"{module}.{name}")


def in_order(names):
    """Acronyms first, as the linter sorts them."""
    return sorted(names, key=lambda name: (not name.isupper(), name))


def loaded_by(statement):
    code = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {
    *("faiss", "lightning", "matplotlib", "numba", "pandas", "PIL", "pyarrow", "safetensors", "scipy"),
    *("sentence_transformers", "sklearn", "timm", "torchvision", "yaml", "rich", "fastapi", "ray"),
}


def test_the_core_loads_nothing_but_torch_and_numpy():
    plain = loaded_by("import torch")
    core = loaded_by("from trine import TripletLoss, census, mine, pairwise_distances, load, Gallery")
    assert not (core - plain) & HEAVY


def test_the_command_line_answers_without_torch():
    assert not loaded_by("import trine.cli") & {"torch", "numpy", *HEAVY}


CROSS_CUTTING = {
    # the project as a whole
    *(
        "test_architecture",
        "test_benchmarks",
        "test_documentation",
        "test_examples",
        "test_project",
        "test_types",
    ),
    # what must hold for every table and label column
    "data/test_generated_tables",
    # what must hold for every store, whatever happens to the process, the disk or the machine
    *("gallery/test_conformance", "gallery/test_full_disk", "gallery/test_kills", "gallery/test_limits"),
    *("gallery/test_open_world", "gallery/test_power_loss", "gallery/test_processes"),
    "gallery/postgres/test_server_kill",
    # what users do with an installed wheel
    "test_installed",
    # what a backup by SQLite's own means holds
    *("gallery/test_backups", "gallery/test_memory"),
    # what must hold for a training run, whatever happens to it
    *("training/test_full_disk", "training/test_reliability"),
    # settings and callers that change a whole run
    *("training/test_confusable", "training/test_cross_batch_memory", "training/test_other_trainers"),
    *("training/test_pretrained", "training/test_triplet_loader"),
    # pictures and folders of every kind
    "data/test_generated_pictures",
    # what must hold for every verb, and for every kind of model
    *(
        "cli/test_exit_codes",
        "cli/test_extras",
        "cli/test_permissions",
        "encoders/test_strange_models",
        "test_damage",
    ),
    # what must hold for every call of the service
    "service/test_fuzz",
    # the files of the page, which are no Python
    "service/test_page",
    # two sides of one loss, and the losses of other libraries
    *("losses/test_coming_from", "losses/test_references"),
}
"""Tests of more than one file."""


def test_tests_mirror_the_source():
    tests, wrong = ROOT / "tests", set()
    for path in sorted(tests.rglob("test_*.py")):
        name = path.relative_to(tests).with_suffix("").as_posix()
        subject = path.relative_to(tests).with_name(path.stem.removeprefix("test_"))
        mirrored = [SOURCE / subject.with_suffix(".py"), SOURCE / subject / "__init__.py"]
        if subject.parts[0] == "recipes":
            mirrored = list((SOURCE / "recipes").glob(f"{subject.name}*.yaml"))
        if name not in CROSS_CUTTING and not any(found.is_file() for found in mirrored):
            wrong.add(name)
    assert wrong == set()
    assert {name for name in CROSS_CUTTING if not (tests / f"{name}.py").is_file()} == set()
