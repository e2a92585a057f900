"""How CSV files are written: encodings, separators, and what may stand before the header."""

import pytest

from trine.data.csv_layout import detect_encoding, read_layout
from trine.errors import DataError

BODY = "label,größe,b\nx,1.5,2\ny,2.5,3\n"


def layout(text, encoding="utf-8"):
    content = text if isinstance(text, bytes) else text.encode(encoding)
    return read_layout(content, whole=True, name="t.csv")


@pytest.mark.parametrize(
    ("encoding", "detected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("latin-1", "cp1252"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_detected_and_the_header_is_read_in_them(encoding, detected):
    found = layout(BODY, encoding)
    assert (found.encoding, found.names) == (detected, ("label", "größe", "b"))


@pytest.mark.parametrize(
    "words", [["Müller", "Jürgen"], ["é"], ["Åse", "Ærø"], ["5 €"], ["Ünal", "Çelik"], ["ÄÖÜ"]]
)
def test_latin_letters_are_those_of_western_windows(words):
    text = "label,a\n" + "".join(f"{word},1\n" for word in words)
    assert detect_encoding(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("текст,метка\nГде моя карта?,карта\nМеня списали дважды,списание\n", "cp1251"),
        ("text,label\n私のカードはどこですか,カード\n二回請求されました,請求\n", "cp932"),
        ("text,label\n我的卡在哪里,卡\n我被收费两次,收费\n", "gb18030"),
    ],
)
def test_letters_that_are_not_latin_decide_their_encoding(text, encoding):
    assert detect_encoding(text.encode(encoding)) == encoding
    assert layout(text, encoding).names == tuple(text.split("\n")[0].split(","))


@pytest.mark.parametrize(
    ("text", "separator", "names"),
    [
        ("label\tsize, cm\tb\nx\t1.5\t2\n", "\t", ("label", "size, cm", "b")),
        ('label;"size, cm";b\nx;1.5;2\n', ";", ("label", "size, cm", "b")),
        ("label\tsize; cm\tb\nx\t1.5\t2\n", "\t", ("label", "size; cm", "b")),
        ("label|a|b\nx|1|2\n", "|", ("label", "a", "b")),
        ("label;a;b\nx;1,5;2,25\ny;1,6;3,5\n", ";", ("label", "a", "b")),
        ("größe, cm;b\n1,5;2\n1,6;3\n", ";", ("größe, cm", "b")),
        ("label,genres\nx,Comedy|Drama\ny,Drama|War\n", ",", ("label", "genres")),
        ('text,label\n"top, up; now",x\n"a, b; c",y\n', ",", ("text", "label")),
        ('a,"b\nc",d\n1,2,3\n', ",", ("a", "b\nc", "d")),
        ("a,b;c\n", ",", ("a", "b;c")),
        ("label\nx\ny\n", ",", ("label",)),
        (" label , a \nx, 1\n", ",", ("label", "a")),
        ("label,,a\nx,1,2\n", ",", ("label", "", "a")),
    ],
)
def test_the_separator_is_the_one_that_cuts_all_rows_alike(text, separator, names):
    found = layout(text)
    assert (found.separator, found.names) == (separator, names)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("\n\r\n  \n", "label,a\nx,1\n"),
        ("sep=;\n", "label;a\nx;1\n"),
        ('"sep=;"\r\n', "label;a,b\r\nx;1\r\n"),
        ("SEP=|\n\n", "label|a\nx|1\n"),
        ("# by a tool\n# version 2\n", "label,a\nx,1\n"),
        ("# size; weight\n", "label;a;b\nx;1;2\n"),
        ("\ufeff\n", "label,a\nx,1\n"),
    ],
)
def test_what_stands_before_the_header_is_skipped(before, text):
    found = layout(before + text)
    assert found.names[0] == "label"
    assert (before + text)[found.start :].startswith("x")


def test_a_header_behind_a_hash_is_the_header():
    assert layout("# label,a\nx,1\n").names == ("label", "a")
    assert layout("#,label\n1,x\n").names == ("#", "label")


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff\n", "sep=;\n"])
def test_an_empty_file_is_named(text):
    with pytest.raises(DataError, match=r"t\.csv is empty, expected a header line"):
        layout(text)


def test_a_sample_that_ends_within_the_header_says_nothing_yet():
    assert read_layout(b"label,siz", whole=False, name="t.csv") is None
    assert read_layout(b"\n\n", whole=False, name="t.csv") is None


def test_a_text_that_breaks_off_within_a_character_is_damaged():
    with pytest.raises(DataError, match=r"t\.csv cannot be read as utf-16 .*: save it as UTF-8"):
        layout(BODY.encode("utf-16")[:-1])
