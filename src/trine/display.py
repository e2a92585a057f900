"""Text that is safe to show: names of files and what is in them may hold anything."""

from __future__ import annotations

import re

# Control characters, marks that reorder text, line separators, and bytes that were not UTF-8.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, escape: str = "") -> str:
    r"""Writes what would act on a terminal, or cannot be encoded, as escapes.

    Bytes of a file name that are not UTF-8 become `\xff`, control characters `\x1b`.

    Args:
        text: Any text, such as the name of a file.
        escape: How each such character is written, formatted with its number; empty as above.

    Returns:
        One line of text that can be encoded and printed.

    Example:
        >>> print(printable("ann\x1b[2K\n"), printable("p\udcff0"))
        ann\x1b[2K\x0a p\xff0
    """

    def escaped(found: re.Match[str]) -> str:
        code = ord(found[0])
        if escape:
            return escape.format(code)
        byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
        return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"

    return _UNPRINTABLE.sub(escaped, text)


def shortened(text: str, *, most: int) -> str:
    """Leaves out the middle of a long text.

    Args:
        text: Any text.
        most: The most characters to keep; at least 8.

    Example:
        >>> shortened("a" * 90 + "b" * 10, most=15)
        'aaaaaaaaaa ... bbbbb'
    """
    if len(text) <= most:
        return text
    return f"{text[: most - most // 3]} ... {text[len(text) - most // 3 :]}"


def first_line(error: BaseException) -> str:
    r"""The first line of an error of another library; the name of its kind if it says nothing.

    Example:
        >>> first_line(RuntimeError("shapes differ\n  at x.cpp:12")), first_line(KeyError())
        ('shapes differ', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return shortened(printable(lines[0]), most=300) if lines else type(error).__name__
