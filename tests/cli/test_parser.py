"""The words of a command line: help, and one sentence for each mistake."""

import subprocess
import sys

import pytest

from support.commands import refused
from trine import __version__
from trine.cli import main
from trine.cli.verbs import GALLERY, TRINE


def shown_by(capsys, *words):
    """Runs a command line that prints something and ends with exit code 0."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", TRINE.verbs)
def test_every_verb_shows_an_example(verb, capsys):
    shown = shown_by(capsys, verb, "--help")
    assert f"usage: trine {verb} " in shown
    assert f"  trine {verb}" in shown.partition("examples:")[2]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["gallery"], ["gallery", "--help"]])
def test_verbs_are_listed_with_a_sentence_each(words, capsys):
    shown = shown_by(capsys, *words)
    group = GALLERY if "gallery" in words else TRINE
    for name, each in group.verbs.items():
        assert f"\n    {name}" in shown
        assert " ".join(each.help.split()[:3]) in " ".join(shown.split())


def test_the_version_is_that_of_the_package(capsys):
    assert shown_by(capsys, "--version") == f"trine {__version__}\n"


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from trine.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'yaml', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("trian", "trine: unknown verb 'trian'; did you mean 'train'? known: demo, faces, train, "),
        ("gallery lost people", "unknown verb 'lost'; did you mean 'list'? known: create, list, "),
        ("gallery lost people", "restore; see trine gallery --help"),
        ("train", "the following arguments are required: data, --out; see trine train --help"),
        ("--epochs", "unknown option '--epochs'; known: -h, --help, --version; see trine --help"),
        ("train digits --out x --recipes=a", "unknown option '--recipes'; did you mean '--recipe'? known: "),
        (
            "gallery stats people --jso",
            "did you mean '--json'? known: -h, --help, --json; see",
        ),
        ("train digits --out x --rec drlim", "unknown option '--rec'"),
        ("identify a.jpg --gallery g --no-detct", "unknown option '--no-detct'; did you mean '--no-detect'?"),
        ("enrol a b --gallery g --severl all", "did you mean '--several'?"),
        ("verify a b c --draw", "argument --draw: expected one argument; see trine verify --help"),
        ("doctor one two", "unexpected argument 'two'; see trine doctor --help"),
        (
            "search a.jpg --gallery g -k many",
            "-k: invalid int value: 'many'; see trine search --help",
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_says_what_was_expected(words, sentence, capsys):
    assert sentence in refused(capsys, *words.split())


def test_ctrl_c_has_an_exit_code_of_its_own(capsys, monkeypatch):
    import trine.demo

    def interrupted(out, *, echo):
        raise KeyboardInterrupt

    monkeypatch.setattr(trine.demo, "demo", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "trine: interrupted\n"


def test_an_error_names_an_argument_as_an_option(capsys, tmp_path):
    (tmp_path / "rows.csv").write_text("kind,a\nx,1\ny,\n")
    told = refused(capsys, "train", tmp_path / "rows.csv", "--label", "kind", "--out", tmp_path / "run")
    assert "with --missing skip, or keep them with --missing keep" in told
