"""Arguments that several verbs share: a command that repeats them, and what is passed on."""

import shlex

import pytest

from trine.cli.arguments import data_command, pick
from trine.cli.parser import Parser
from trine.cli.train import train


def read(words):
    parser = Parser("trine train", train)
    for add in train.arguments:
        add(parser)
    return parser.parse_all([*words, "--out", "run"])


@pytest.mark.parametrize(
    "command",
    [
        "photos",
        "'my photos' --pattern '{identity}_c{camera}_{*}'",
        "rows.csv --label 'the family' --features a b --categories c",
        "rows.csv --missing keep --repeated skip --singletons skip",
        "texts.csv --text-column said --unlabelled skip",
    ],
)
def test_a_command_that_repeats_the_data_arguments_is_read_back_the_same(command):
    settings = read(shlex.split(command))
    assert data_command(settings) == command
    assert read(shlex.split(data_command(settings))) == settings


def test_arguments_are_picked_by_name():
    assert pick(read(["photos", "--resume"]), "out", "resume") == {"out": "run", "resume": True}
