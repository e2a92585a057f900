"""The exit code of every verb: those of docs/index.md."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from support.effort import thorough
from support.paths import ROOT
from trine.cli import main
from trine.cli.parser import Verb
from trine.cli.verbs import TRINE
from trine.errors import Terminated, TrineError


def verbs(node=TRINE, words=()):
    """Every verb, with the words that call it."""
    for name, each in node.verbs.items():
        if isinstance(each, Verb):
            yield (*words, name), each
        else:
            yield from verbs(each, (*words, name))


VERBS = dict(verbs())


def replaced(words, run, node=TRINE):
    """The command line with another function for one verb, which takes no arguments."""
    first, *rest = words
    each = node.verbs[first]
    new = replaced(rest, run, each) if rest else dataclasses.replace(each, run=run, arguments=())
    return dataclasses.replace(node, verbs={**node.verbs, first: new})


def ends_by(error):
    def run(settings):
        raise error

    return run


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb(words, capsys):
    for run, code, said in (
        (lambda settings: None, 0, ""),
        (lambda settings: 1, 1, ""),
        (ends_by(TrineError("a is b; do c")), 2, "trine: a is b; do c\n"),
        (ends_by(KeyboardInterrupt()), 130, "trine: interrupted\n"),
        (lambda settings: signal.raise_signal(signal.SIGTERM), 143, "trine: terminated\n"),
        (ends_by(BrokenPipeError()), 141, ""),
        (ends_by(Terminated()), 143, "trine: terminated\n"),
    ):
        assert main(list(words), verbs=replaced(words, run)) == code
        assert capsys.readouterr().err == said
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert main([*words, "--no-such-option"]) == 2
    assert main([*words, *["too"] * 9, "many"]) == 2
    assert all(line.startswith("trine: ") for line in capsys.readouterr().err.splitlines())


CANNOT_BE_USED = {
    ("faces",): "{no} --out {out}",
    ("train",): "{no} --out {out}",
    ("recipe",): "{no}",
    ("doctor",): "{no}",
    ("evaluate",): "{no} {no}",
    ("audit",): "{no} {no}",
    ("mine",): "{no} {no} --out {out}.parquet",
    ("embed",): "{no} {no} --out {out}.parquet",
    ("export",): "{no} --out {out}",
    ("enrol",): "{no} {no} --gallery {out}",
    ("verify",): "{no} a b",
    ("identify",): "{no} --gallery {no}",
    ("search",): "{no} --gallery {no}",
    ("recommend",): "{no} --user a",
    ("cluster",): "{no} {no}",
    ("gallery", "create"): "{out}/file/x.db --encoder {no}",
    ("gallery", "list"): "{no}",
    ("gallery", "stats"): "{no}",
    ("gallery", "calibrate"): "{no}",
    ("gallery", "remove"): "{no} a",
    ("gallery", "forget"): "{no} a",
    ("gallery", "rename"): "{no} a b",
    ("gallery", "merge"): "{no} a b",
    ("gallery", "split"): "{no} a --items b --into c",
    ("gallery", "clusters"): "{no}",
    ("gallery", "check"): "{no}",
    ("gallery", "repair"): "{no} --yes",
    ("gallery", "export"): "{no} {out}.parquet",
    ("gallery", "import"): "{out} {no}.parquet",
    ("gallery", "copy"): "{no} {out}",
    ("gallery", "compare"): "{no} --encoder {no}",
    ("gallery", "rebuild"): "{no} {no}",
    ("gallery", "backup"): "{no} {out}",
    ("gallery", "restore"): "{no} {out}",
    ("serve",): "--gallery {no} --port 0",
    ("keys", "add"): "a --state {out} --scope nothing",
    ("keys", "list"): "--gallery {no}",
    ("keys", "revoke"): "a --gallery {no}",
}
"""How each verb is given something that does not exist."""


@pytest.mark.parametrize("words", CANNOT_BE_USED, ids=" ".join)
def test_what_cannot_be_used(words, capsys, tmp_path):
    given = CANNOT_BE_USED[words].format(no=tmp_path / "missing", out=tmp_path / "out").split()
    code = main([*words, *given])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2, line
    assert line.startswith("trine: ")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_every_verb_that_reads_something_is_among_them():
    assert set(VERBS) - set(CANNOT_BE_USED) == {("demo",)}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "terminated"),
        pytest.param(signal.SIGINT, 130, "interrupted", marks=thorough),
    ],
)
def test_a_signal_from_outside_ends_a_run_that_resumes(number, code, said, tmp_path):
    run, settings = tmp_path / "run", ("training.steps=100000", "sampler.identities=4", "sampler.items=4")
    command = [sys.executable, "-m", "trine", "train", "digits", "--out", str(run)]
    process = subprocess.Popen(
        [*command, "--set", *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    until = time.monotonic() + 120
    log = run / "metrics.csv"
    while not (log.is_file() and log.read_text().count("\n") > 1) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err.splitlines()[-1] == f"trine: {said}"
    assert out.splitlines()[-1] == f"{said}; resume with: trine train digits --out {run} --resume"
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert not (run / ".lock").exists()


def test_the_documented_codes_are_those_of_the_help(capsys):
    table = re.findall(r"^\| (\d+) \|", (ROOT / "docs/index.md").read_text("utf-8"), re.MULTILINE)
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    codes = capsys.readouterr().out.partition("exit codes: ")[2]
    assert re.findall(r"\d+", codes) == table == ["0", "1", "2", "130", "141", "143"]
