"""Recipes: files, names, single settings on top, and each mistake in one sentence."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from trine.encoders import EncoderRecipe, SmallResNetSettings
from trine.errors import SettingError
from trine.training import (
    About,
    LossRecipe,
    Recipe,
    SamplerRecipe,
    Stage,
    TrainingRecipe,
    about_recipe,
    load_recipe,
    recipe_names,
    recipe_text,
)

LAUGHS = "a0: &a0 [1, 1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(60))
"""A few lines that stand for 2⁶⁰ values."""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_default_recipe_is_the_dataclasses_own() -> None:
    assert load_recipe() == load_recipe("default") == Recipe()


def test_a_written_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = replace(
        Recipe(seed=7),
        encoder=EncoderRecipe(image_size=(5, 4), small_resnet=SmallResNetSettings(blocks=(2, 1))),
        loss=LossRecipe(margin=0.3),
        curriculum=(Stage(at=0.0), Stage(at=0.5, until=0.7, mining="hard", margin=0.1, items=3)),
        training=TrainingRecipe(epochs=3, gradient_clip=1.0),
    )
    assert load_recipe(written(tmp_path, recipe_text(recipe))) == recipe


def test_every_packaged_recipe_is_valid_and_says_where_it_is_from() -> None:
    names = recipe_names()
    assert names[0] == "default"
    assert len(names) > 1
    for name in names[1:]:
        assert load_recipe(name) != Recipe()
    faces = load_recipe("facenet")
    assert (faces.loss.distance, faces.loss.margin) == ("squared_euclidean", 0.2)
    assert load_recipe("trinet").loss.margin is None


def test_a_file_and_single_settings_on_top(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "training: {epochs: 3, learning_rate: 1e-4}\n"
        "loss: {mining: semihard}\ncurriculum:\n  - {at: 0.5, mining: hard}\n",
    )
    overrides = {
        "training.epochs": "20",
        "encoder.image_size": "[28, 14]",
        "loss.margin": "null",
        "encoder.small_resnet.width": 8,
    }
    recipe = load_recipe(path, overrides=overrides)
    assert recipe.training == TrainingRecipe(epochs=20, learning_rate=1e-4)
    assert recipe.loss == LossRecipe(margin=None, mining="semihard")
    assert recipe.curriculum == (Stage(at=0.5, mining="hard"),)
    assert recipe.encoder.image_size == (28, 14)
    assert recipe.encoder.small_resnet.width == 8
    assert recipe.sampler == SamplerRecipe()


def test_identities_are_listed_by_name_number_or_range() -> None:
    overrides = {
        "data.split": "named",
        "data.train_identities": "[1-385, ann, 7]",
        "data.validation_identities": ["400-410"],
        "data.test_identities": "[386-399]",
        "training.patience": 3,
    }
    data = load_recipe(overrides=overrides).data
    assert data.train_identities == ("1-385", "ann", 7)
    assert data.test_identities == ("386-399",)


def test_a_choice_that_looks_like_a_number_may_stand_without_quotes(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "training: {precision: 16}")).training.precision == "16"
    assert load_recipe(overrides={"training.precision": "32"}).training.precision == "32"


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "# nothing yet\n")) == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainig: {epochs: 3}", r"mine.yaml: unknown setting 'trainig'; did you mean 'training'\?"),
        (
            "training: {epoch: 3}",
            r"mine.yaml: unknown setting 'training.epoch'; did you mean 'training.epochs'\?",
        ),
        (
            "training: {epochs: many}",
            r"mine.yaml: training.epochs must be an integer or null, given 'many'$",
        ),
        ("training: {epochs: 0}", r"training.epochs must be an integer >= 1 or null, given 0$"),
        ("training: {learning_rate: -1}", r"training.learning_rate must be a number > 0, given -1$"),
        ("training: {schedule: cosin}", r"training.schedule is 'cosin'; did you mean 'cosine'\?"),
        ("training: 3", r"training must be a section of keys, given 3$"),
        ("seed: -1", r"seed must be an integer >= 0, given -1$"),
        ("sampler: {identities: 1}", r"sampler.identities must be an integer >= 2 or null, given 1$"),
        (
            "loss: {distance: manhattan}",
            r"loss.distance is 'manhattan'; known: squared_euclidean, euclidean, cosine$",
        ),
        ("loss: {mining: semi-hard}", r"mine.yaml: loss.mining is 'semi-hard'; did you mean 'semihard'\?"),
        ("curriculum: [{at: 0.5, mining: hrad}]", r"curriculum\[0\].mining is 'hrad'; did you mean 'hard'\?"),
        (
            "curriculum: [{at: 0.5}, {at: 0.5}]",
            r"curriculum\[1\].at must be later than the stage before, at 0.5, given 0.5$",
        ),
        (
            "curriculum: [{at: 0.2, until: 0.6, margin: 1}, {at: 0.5, items: 8}]",
            r"curriculum\[1\].at is 0.5, but the stage before continues until 0.6; make it end",
        ),
        (
            "curriculum: [{at: 0.2, until: 0.2, margin: 1}]",
            r"curriculum\[0\].until must be later than at, 0.2, given 0.2$",
        ),
        (
            "curriculum: [{at: 0.2, until: 0.3, mining: hard}]",
            r"curriculum\[0\].until needs a number .*; set margin, identities or items, or leave",
        ),
        (
            "curriculum: [{at: 1.0}]",
            r"curriculum\[0\].at must be a number >= 0 and < 1, given 1",
        ),
        (
            "curriculum: [{at: 0, items: 1}]",
            r"curriculum\[0\].items must be an integer >= 2 or null",
        ),
        (
            "loss: {margin: null}\ncurriculum: [{at: 0, margin: 1}]",
            r"curriculum\[0\].margin is 1, but loss.margin is null",
        ),
        (
            "loss: {margin: null, mining: violating}",
            r"loss.mining is violating, which needs a margin",
        ),
        (
            "data: {test: 0.5, validation: 0.5}",
            r"data.test 0.5 and data.validation 0.5 leave nothing to train on",
        ),
        (
            "data: {train_identities: [1-9], test_identities: [ann]}",
            r"data.train_identities needs data.split named, given auto; set data.split to named, "
            r"or data.train_identities and data.test_identities to \[\]$",
        ),
        (
            "data: {split: named, train_identities: [1-9]}",
            r"data.split named needs data.test_identities; set it to a list such as",
        ),
        (
            "data: {split: named, train_identities: 1-9}",
            r"data.train_identities must be a list, given '1-9'",
        ),
        ("training: {betas: [0.9]}", r"training.betas must be a list of 2, given \[0.9\]$"),
        ("training: {late_beta1: 1}", r"training.late_beta1 must be a number >= 0 and < 1"),
        ("training: {patience: 3}", r"training.patience needs a validation part, but data.validation is 0"),
        ("- 3", r"mine.yaml: expected a section of keys, given \[3\]$"),
        ("[" * 5000, r"mine.yaml is not a recipe: its sections lie too deep inside each other$"),
        (LAUGHS, r"mine.yaml is not a recipe: its sections lie too deep inside each other$"),
        ("seed: 2026-13-45", r"mine.yaml is not valid YAML \(month must be in 1..12\); fix it$"),
        ("training: {epochs: 3", r"mine.yaml is not valid YAML \(line 1: .*\); fix it$"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        load_recipe(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.epoch", "3", r"unknown setting 'training.epoch'; did you mean 'training.epochs'\?"),
        ("epochs", "3", r"unknown setting 'epochs'; did you mean 'training.epochs'\?$"),
        (
            "training.epochs.more",
            "3",
            r"training.epochs must be an integer or null, given {'more': 3}$",
        ),
        ("zzz", "3", r"unknown setting 'zzz'; known: seed, data, "),
        (
            "training.epochs",
            "0.5",
            r"default with overrides: training.epochs must be an integer or null, given 0",
        ),
        ("training.epochs", "[", r"^the value of training.epochs is not valid YAML"),
        (
            "loss.mining",
            "hrad",
            r"^recipe default with overrides: loss.mining is 'hrad'; did you mean 'hard'\?",
        ),
    ],
)
def test_mistakes_in_single_settings(key: str, value: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_recipe(overrides={key: value})


def test_a_recipe_may_say_what_it_is_and_then_says_all_of_it(tmp_path: Path) -> None:
    section = "about:\n" + "".join(f"  {field.name}: {field.name} of it\n" for field in fields(About))
    path = written(tmp_path, section + "seed: 3\n")
    assert load_recipe(path) == Recipe(seed=3)
    assert about_recipe(path) == About(*(f"{field.name} of it" for field in fields(About)))
    assert about_recipe(written(tmp_path, "seed: 3\n")) is None
    with pytest.raises(SettingError, match=r"about.takes is missing"):
        about_recipe(written(tmp_path, section.replace("  takes: takes of it\n", "")))
    with pytest.raises(SettingError, match=r"unknown setting 'about.author'"):
        about_recipe(written(tmp_path, section + "  author: me\n"))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(
        SettingError, match=r"packaged recipe 'facenets'; did you mean 'facenet'\? known: default, "
    ):
        load_recipe("facenets")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "picture.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(SettingError, match=r"picture.yaml is not a recipe, since it is not UTF-8 text"):
        load_recipe(path)


def test_a_recipe_made_in_python_is_held_to_the_same_rules() -> None:
    with pytest.raises(SettingError, match=r"^steps must be an integer >= 1 or null, given 0$"):
        TrainingRecipe(steps=0)
    with pytest.raises(SettingError, match=r"^training.patience needs a validation part"):
        replace(Recipe(), training=TrainingRecipe(patience=3))


def test_the_text_holds_every_section() -> None:
    assert list(yaml.safe_load(recipe_text(Recipe()))) == [
        "seed", "data", "encoder", "augment", "sampler", "loss", "training", "evaluation", "curriculum",
        "interactions",
    ]  # fmt: skip
