"""What names of files and what is in them look like when they are shown."""

import json

import pytest

from trine.display import printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë 漢字 \u200d👩\u200d🚀 \u00a0", "Zoë 漢字 \u200d👩\u200d🚀 \u00a0"),
        ("a\r\x1b[2Kb\x07\n", r"a\x0d\x1b[2Kb\x07\x0a"),
        ("\x9b2K", r"\x9b2K"),
        ("invoice\u202egpj.exe", r"invoice\u202egpj.exe"),
        ("\u200fabc\u061c", r"\u200fabc\u061c"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_would_act_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()
    assert json.loads(f'"{printable(text, escape=chr(92) + "u{:04x}")}"') == text


@pytest.mark.parametrize("length", [0, 8, 9, 100])
def test_a_shortened_text_keeps_its_ends(length: int) -> None:
    text = ("abcdefghij" * 10)[:length]
    short = shortened(text, most=8)
    assert short == text if length <= 8 else (short[:6], short[-2:]) == (text[:6], text[-2:])
    assert len(short) <= 8 + len(" ... ")
