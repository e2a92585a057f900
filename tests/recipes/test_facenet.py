"""FaceNet's recipes in a small form: on people it has never seen, it beats the pixels."""

import pytest

from support.effort import thorough
from support.paths import SHARED_DATA
from trine.data import PKSampler, load, read_pairs, split_by_folds
from trine.pipelines import train_run
from trine.training import about_recipe, load_recipe

SMALL = {"training.device": "cpu", "training.threads": 1}


def faces(name):
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"the faces of {name} are not beside the checkout")
    return SHARED_DATA / name


@pytest.mark.parametrize("name", ["facenet", "facenet-lfw", "facenet-orl"])
def test_the_settings_are_the_paper_s(name):
    recipe = load_recipe(name)
    loss = recipe.loss
    assert (loss.distance, loss.margin, loss.mining) == ("squared_euclidean", 0.2, "semihard")
    assert recipe.encoder.normalise
    assert recipe.encoder.dimension == 128
    assert recipe.training.chunk is not None
    assert recipe.evaluation.clustering == "average"
    about = about_recipe(name)
    assert f"--recipe {name} " in about.command
    assert "Schroff" in about.source


def test_a_batch_of_faces_has_1800():
    """P and K of facenet-lfw, on the people of folds 1 to 3."""
    folder = faces("faces_lfw")
    data, _ = load(folder / "images")
    recipe = load_recipe("facenet-lfw")
    table, held_out = read_pairs(folder / "pairs.csv"), recipe.data.validation_folds
    parts = split_by_folds(data, table, test=recipe.data.test_folds, validation=held_out)
    batches = recipe.sampler
    sampler = PKSampler(
        data.labels[parts.train], identities=batches.identities, items=batches.items, last=batches.last
    )
    sizes = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        sizes += [len(batch) for batch in sampler]
    assert 1700 < sum(sizes) / len(sizes) < 1900


@thorough
@pytest.mark.slow
def test_one_fold_of_lfw(tmp_path):
    folder = faces("faces_lfw")
    data, _ = load(folder / "images")
    settings = {
        "sampler.identities": 60,
        "sampler.items": 4,
        "encoder.image_size": 32,
        "training.steps": 120,
        "training.learning_rate": 2e-3,
        "training.evaluate_every": 120,
    }
    recipe = load_recipe("facenet-lfw", overrides=SMALL | settings)
    report = train_run(data, recipe, out=tmp_path / "run", pairs=folder / "pairs.csv", progress=False)
    assert report.after.pairs.genuine_pairs == report.after.pairs.impostor_pairs == 300
    assert report.after.pairs_at_threshold.accuracy > report.before.pairs_at_threshold.accuracy + 0.02
    assert report.after.pairs.roc_auc > report.before.pairs.roc_auc + 0.03
    assert report.after.clustering.how["method"] == "average"


@pytest.mark.slow
def test_faces_of_orl(tmp_path):
    recipe = load_recipe("facenet-orl", overrides=SMALL | {"encoder.image_size": 32, "training.steps": 25})
    data, _ = load(faces("faces_orl"))
    report = train_run(data, recipe, out=tmp_path / "run", progress=False)
    assert report.after.retrieval.map_at_r > report.before.retrieval.map_at_r
    assert report.after.clustering.bcubed_f > 0.5
