"""The table of `gallery.py`."""

from __future__ import annotations

from typing import Any

from results import describe

COLUMNS = {
    "bulk rows/s": "{:,.0f}",
    "single ms": "{:.2f}",
    "prepare s": "{:.1f}",
    "open s": "{:.2f}",
    "bytes per row": "{:,.0f}",
    "p50 ms": "{:.2f}",
    "p99 ms": "{:.2f}",
    "recall@10": "{:.3f}",
    "batched queries/s": "{:,.0f}",
    "filtered p50 ms": "{:.2f}",
    "filtered recall@10": "{:.3f}",
}


def report(record: dict[str, Any], about: str) -> str:
    """The result as a page."""
    question, *text = about.strip().splitlines()
    lines = [
        f"# {question}",
        *text,
        "",
        f"{record['date']}, {record['machine']}, torch {record['torch']}",
        "",
    ]
    for size in sorted({row["rows"] for row in record["rows"]}):
        lines += [f"## {size:,} rows", "", "| store | durable | " + " | ".join(COLUMNS) + " |"]
        lines += ["|---" * (len(COLUMNS) + 2) + "|"]
        for row in record["rows"]:
            if row["rows"] == size:
                cells = [text.format(row[name]) for name, text in COLUMNS.items()]
                lines.append(
                    f"| {row['store']} | {'yes' if row['durable'] else 'no'} | {' | '.join(cells)} |"
                )
        lines.append("")
    lines += [
        "Durable: a row has reached the disk when the call returns. Open: until the first answer. Filtered:",
        "one item in a hundred. Prepare: what it takes after many rows were added until searches are fast.",
        "",
        describe(record["summary"]),
    ]
    return "\n".join(lines) + "\n"
