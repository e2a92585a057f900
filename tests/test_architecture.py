"""The tree is the way of the data: imports point one way, and the heavy ones wait until they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import trine

SOURCE = Path(trine.__file__).parent
ORDER = [
    *("errors", "migrations", "settings", "shapes", "distances", "triplets", "calibration", "neighbours"),
    *("ranking", "clustering", "io", "model", "data", "encoders", "engine", "mining", "losses", "training"),
    *("evaluation", "report", "gallery", "service", "estimators", "pipelines", "demo", "cli", "__main__"),
]
NOT_YET = {
    "evaluation/__init__.py imports trine.report.overview_png",
    "evaluation/__init__.py imports trine.report.projection",
    "report/pages/label_errors.py imports trine.pipelines.split_record",
    "report/pages/label_errors.py imports trine.pipelines.audit",
}
"""Imports that point back until the move of the tree is done."""
CORE = {"torch", "numpy", "trine"}
OPTIONAL_EVERYWHERE = {"jaxtyping"}  # tried by trine.shapes, and not needed


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            yield node, node.module


def test_every_part_has_its_place():
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path, _ in modules()} - {"__init__"}
    assert parts <= set(ORDER), f"not placed in the way of the data: {sorted(parts - set(ORDER))}"


def test_imports_point_one_way():
    wrong = []
    for path, tree in modules():
        part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for _, name in imports(tree):
            if name.startswith("trine.") and ORDER.index(name.split(".")[1]) > ORDER.index(part):
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert set(wrong) <= NOT_YET


def test_only_torch_and_numpy_are_imported_at_the_top():
    wrong = []
    for path, tree in modules():
        for node in tree.body:
            for _, name in imports(ast.Module([node], [])) if not guarded(node) else ():
                top = name.split(".")[0]
                if top not in CORE | OPTIONAL_EVERYWHERE and top not in sys.stdlib_module_names:
                    wrong.append(f"{path.relative_to(SOURCE)} imports {name} at its top")
    assert not wrong


def guarded(node):
    """Whether a top-level statement is code that runs later, or for the type checker alone."""
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return typing_only or isinstance(node, ast.FunctionDef | ast.ClassDef)


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


def in_order(names):
    """Acronyms first, as the linter sorts them."""
    return sorted(names, key=lambda name: (not name.isupper(), name))


def loaded_by(statement):
    code = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {
    *("faiss", "lightning", "matplotlib", "numba", "pandas", "PIL", "pyarrow", "safetensors", "scipy"),
    *("sentence_transformers", "sklearn", "timm", "torchvision", "yaml", "rich", "fastapi"),
}


def test_the_core_loads_nothing_but_torch_and_numpy():
    plain = loaded_by("import torch")
    core = loaded_by("from trine import TripletLoss, census, mine, pairwise_distances, load, Gallery")
    assert not (core - plain) & HEAVY


def test_the_command_line_answers_without_torch():
    assert not loaded_by("import trine.cli") & {"torch", "numpy", *HEAVY}
