"""Identity, camera and group from the names of files, by a pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from trine.data.image_decoding import SUFFIXES
from trine.errors import SettingError, check_type, nearest

IDENTITY, ANYTHING = "identity", "*"
COLUMNS = ("camera", "group")
FIELDS = (IDENTITY, *COLUMNS, ANYTHING)


@dataclass(frozen=True)
class Pattern:
    """How to read the names of files.

    Args:
        text: Text with the fields `{identity}`, `{camera}`, `{group}` and `{*}` (anything, even nothing). A
            field ends at the first occurrence of the text that follows it, and never spans two folders. A
            pattern with n slashes is matched against the last n + 1 parts of a path; without the suffix,
            unless the pattern ends in that of an image.

    Raises:
        SettingError: The text has an unknown field, a repeated one, none for the identity, two side by side,
            or a brace outside a field.

    Example:
        >>> Pattern("{identity}_c{camera}s{*}").read("query/0002_c1s1_000451_03.jpg")
        {'identity': '0002', 'camera': '1'}
        >>> Pattern("{identity}/cam{camera}/{*}").read("ann/cam2/3.jpg")
        {'identity': 'ann', 'camera': '2'}
    """

    text: str

    def __post_init__(self) -> None:
        check_type("pattern", self.text, str, "a text such as '{identity}_c{camera}_{*}'", error=SettingError)
        fields = re.findall(r"\{([^{}]*)\}", self.text)
        start = f"the pattern {self.text!r}"
        for field in fields:
            if field not in FIELDS:
                raise SettingError(f"{start} has an unknown field {{{field}}}: {nearest(field, FIELDS)}")
            if field != ANYTHING and fields.count(field) > 1:
                raise SettingError(f"{start} has {{{field}}} twice: leave one, or write {{*}} for the other")
        if IDENTITY not in fields:
            raise SettingError(
                f"{start} does not say where the identity is: add {{identity}}, as in "
                "'{identity}_c{camera}_{*}'"
            )
        if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", self.text)):
            raise SettingError(f"{start} has a brace outside a field: a field is written as {{identity}}")
        if side := re.search(r"\{[^{}]*\}\{[^{}]*\}", self.text):
            raise SettingError(
                f"{start} has nothing between the fields in {side[0]}, so it is unclear where one ends: "
                "add the text that separates them, or replace both with one field"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields other than the identity that it has: camera, group."""
        return tuple(name for name in COLUMNS if f"{{{name}}}" in self.text)

    def read(self, path: str) -> dict[str, str] | None:
        """Reads the fields in the name of a file.

        Args:
            path: The file, relative to the folder, with forward slashes.

        Returns:
            Each field and its text; None if the name does not match.
        """
        whole = PurePosixPath(self.text).suffix.lower() in SUFFIXES
        name = path if whole else str(PurePosixPath(path).with_suffix(""))
        parts = name.split("/")[-1 - self.text.count("/") :]
        match = re.fullmatch(self._expression, "/".join(parts))
        return None if match is None else match.groupdict()

    @property
    def _expression(self) -> str:
        def group(field: re.Match[str]) -> str:
            return "[^/]*?" if field[1] == re.escape(ANYTHING) else f"(?P<{field[1]}>[^/]+?)"

        return re.sub(r"\\\{(.*?)\\\}", group, re.escape(self.text))
