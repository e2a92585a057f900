"""How much code is there, how long are its functions, what is documented, and does it import in circles?

Reads source folders with `ast` and `tokenize` and imports nothing, so it takes any version of the tree:

    python benchmarks/code_size.py ../before/src src

- lines of code: lines with a token on them, without docstrings, comments and blank lines;
- longest function: by the same count, nested functions included;
- documented: the share of public modules, classes, functions and methods that have a docstring;
- import circles: groups of modules that import each other, directly or through others. Counted over all
  imports: at the top of a module, for the type checker alone, and inside functions.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SILENT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER),
}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Module:
    """A source file.

    Attributes:
        name: Its dotted name; that of the package for an `__init__.py`.
        tree: Its syntax tree.
        lines: The numbers of its lines of code.
    """

    name: str
    tree: ast.Module
    lines: frozenset[int]

    def length(self, node: Definition) -> int:
        """Returns the lines of code from a definition's first line to its last."""
        return sum(node.lineno <= line <= (node.end_lineno or node.lineno) for line in self.lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that hold a package, such as src")
    parser.add_argument(
        "--longest", type=int, default=0, metavar="N", help="also list the N longest functions"
    )
    arguments = parser.parse_args()
    trees = [read_modules(folder) for folder in arguments.folders]
    for folder, modules in zip(arguments.folders, trees, strict=True):
        if not modules:
            parser.error(f"{folder} has no Python files")
    columns = [table(modules) for modules in trees]
    print("| | " + " | ".join(str(folder) for folder in arguments.folders) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row in columns[0]:
        print(f"| {row} | " + " | ".join(column[row] for column in columns) + " |")
    for folder, modules in zip(arguments.folders, trees, strict=True):
        for circle in circles(imports(modules)):
            print(f"\nimport circle in {folder}: {', '.join(circle)}")
        for length, name in functions(modules)[: arguments.longest]:
            print(f"{length:4d} {name}")


def table(modules: list[Module]) -> dict[str, str]:
    """Returns what one tree measures, as text by name of the row."""
    lengths = functions(modules)
    public = list(public_names(modules))
    documented = sum(has_docstring for _, has_docstring in public)
    longest = sorted(((len(module.lines), module.name) for module in modules), reverse=True)
    return {
        "files": f"{len(modules):,}",
        "lines of code": f"{sum(len(module.lines) for module in modules):,}",
        "functions": f"{len(lengths):,}",
        "longest function": f"{lengths[0][0]} ({lengths[0][1]})",
        "functions over 50 lines": str(sum(length > 50 for length, _ in lengths)),
        "longest file": f"{longest[0][0]} ({longest[0][1]})",
        "public names": f"{len(public):,}",
        "documented": f"{documented / len(public):.1%}",
        "import circles": str(len(circles(imports(modules)))),
    }


def read_modules(folder: Path) -> list[Module]:
    """Reads all Python files under a folder."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        found.append(Module(name, tree, code_lines(text, tree)))
    return found


def code_lines(text: str, tree: ast.Module) -> frozenset[int]:
    """Returns the numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(lines)


def functions(modules: list[Module]) -> list[tuple[int, str]]:
    """Returns the length and the name of every function, longest first."""
    found = [
        (module.length(node), f"{module.name}.{node.name}")
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(found, key=lambda each: (-each[0], each[1]))


def public_names(modules: list[Module]) -> Iterator[tuple[str, bool]]:
    """Yields every public module, class, function and method, and whether it has a docstring."""
    for module in modules:
        if any(part.startswith("_") and part != "__main__" for part in module.name.split(".")):
            continue
        yield module.name, ast.get_docstring(module.tree) is not None
        yield from _public_in(module.tree, module.name)


def _public_in(node: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, bool]]:
    for inner in node.body:
        if isinstance(inner, Definition) and not inner.name.startswith("_") and not _is_overload(inner):
            yield f"{name}.{inner.name}", ast.get_docstring(inner) is not None
            if isinstance(inner, ast.ClassDef):
                yield from _public_in(inner, f"{name}.{inner.name}")


def _is_overload(node: Definition) -> bool:
    return any(ast.unparse(each).rpartition(".")[2] == "overload" for each in node.decorator_list)


def imports(modules: list[Module]) -> dict[str, set[str]]:
    """Returns which modules of the tree each of them imports, wherever the import stands."""
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for module in modules:
        for node in ast.walk(module.tree):
            found: list[str] = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [each if each in names else str(node.module) for each in inside]
            graph[module.name].update(names.intersection(found) - {module.name})
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Returns the groups of modules that import each other: strongly connected components.

    Args:
        graph: Which modules each module imports.
    """
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return sorted(list(group) for group in groups)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


if __name__ == "__main__":
    main()
