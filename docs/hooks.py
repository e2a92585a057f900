"""For mkdocs: the index of names in docs/reference.md, and the dates of docs/decisions.md."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

MARK = "<!-- names -->"
"""Where a page asks for the index of names."""


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: object) -> str:
    """Fills in what these pages take from elsewhere."""
    docs = Path(config["docs_dir"])
    if page.file.src_uri == "decisions.md":
        return dated(markdown, docs / "decisions.md")
    return markdown.replace(MARK, names(docs)) if MARK in markdown else markdown


def names(docs: Path) -> str:
    """Lists the documented names by package, each linked to its description."""
    packages: dict[str, list[str]] = {}
    for name in sorted({name for page in docs.rglob("*.md") for name in documented(page)}):
        package = ".".join(name.split(".")[:2]) if name.count(".") > 1 else "trine"
        packages.setdefault(package, []).append(name)
    return "\n\n".join(
        f"### {package}\n\n" + "\n".join(f"- [`{name}`][{name}]" for name in listed)
        for package, listed in sorted(packages.items())
    )


def documented(page: Path) -> list[str]:
    """The names whose docstrings a page shows."""
    return re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def dated(markdown: str, page: Path) -> str:
    """Puts behind the title of each entry the day on which it was written; without git, nothing."""
    dates = dict(written(page))

    def title(found: re.Match[str]) -> str:
        date = dates.get(found[0])
        return found[0] if date is None else f"{found[0]} <small>{date}</small>"

    return re.sub(r"^- \*\*.+?\*\*", title, markdown, flags=re.MULTILINE)


def written(page: Path) -> list[tuple[str, str]]:
    """The titles of a page and the day of each, from git."""
    command = ["git", "blame", "--line-porcelain", "--", page.name]
    try:
        done = subprocess.run(command, cwd=page.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    lines = re.findall(r"^author-time (\d+)\n(?:.+\n)*?\t(- \*\*.+?\*\*)?", done.stdout, re.MULTILINE)
    return [(title, time.strftime("%Y-%m-%d", time.gmtime(int(at)))) for at, title in lines if title]
