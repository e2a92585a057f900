"""For mkdocs: fills docs/reference.md with the names that the other pages document."""

import re
from pathlib import Path

MARK = "<!-- names -->"


def on_page_markdown(markdown: str, *, page: object, config: dict, files: object) -> str:
    """Puts a list of links to all documented names where the page asks for it."""
    return markdown.replace(MARK, names(Path(config["docs_dir"]))) if MARK in markdown else markdown


def names(docs: Path) -> str:
    """Lists the documented names by package, each linked to its description."""
    found = sorted({name for page in docs.rglob("*.md") for name in documented(page)})
    packages: dict[str, list[str]] = {}
    for name in found:
        packages.setdefault(".".join(name.split(".")[:2]) if name.count(".") > 1 else "trine", []).append(
            name
        )
    return "\n\n".join(
        f"### {package}\n\n" + "\n".join(f"- [`{name}`][{name}]" for name in listed)
        for package, listed in sorted(packages.items())
    )


def documented(page: Path) -> list[str]:
    """The names whose docstrings a page shows."""
    return re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
