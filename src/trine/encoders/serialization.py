"""Saving and loading encoders, single ones and two towers alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from trine.display import first_line
from trine.encoders.build import onnx_encoder, pretrained_encoder
from trine.encoders.checks import check_network, check_settings, check_weights
from trine.encoders.encoder import Encoder
from trine.encoders.settings import ONNX, EncoderSettings
from trine.encoders.two_tower import TwoTower, TwoTowerSettings
from trine.encoders.weight_budget import check_fits
from trine.errors import MissingDependencyError, ModelError
from trine.model import PACKAGED, SETTINGS, SavedModel, read_model, write_model
from trine.settings import parse, plain

E = TypeVar("E", Encoder, TwoTower)


def save(
    encoder: Encoder | TwoTower,
    folder: str | Path,
    *,
    metrics: Mapping[str, float] | None = None,
    trained_on: str = "",
) -> None:
    """Saves an encoder as a folder: weights, settings, thresholds, what it was trained on, and a card.

    Args:
        encoder: The encoder; its calibration and its cluster threshold are saved with it, if it has them.
        folder: The folder; a model in it is replaced, whole or not at all.
        metrics: Named metrics for the card.
        trained_on: A phrase for the card, such as `"30 identities of faces_orl"`.

    Raises:
        ModelError: The folder holds something other than a model, or cannot be written.
    """
    model = SavedModel(
        weights={name: tensor.detach().cpu() for name, tensor in encoder.state_dict().items()},
        settings=plain(encoder.settings),
        fingerprint=encoder.fingerprint,
        calibration=encoder.calibration,
        cluster_threshold=encoder.cluster_threshold,
        metrics=metrics or {},
        trained_on=trained_on,
        trained=encoder.trained if isinstance(encoder, Encoder) else None,
        strangers=encoder.strangers if isinstance(encoder, Encoder) else None,
        left_out=encoder.left_out if isinstance(encoder, Encoder) else None,
        started_from=encoder.started_from if isinstance(encoder, Encoder) else "",
    )
    write_model(model, folder=Path(folder))


def load(path: str | Path) -> Encoder:
    """Loads a saved encoder; nothing in the folder is executed.

    Args:
        path: The model folder, or a run folder with a folder `model` inside; or pretrained weights of a
            package, such as `package:face-recognition-models`; or an ONNX file, such as `arcface.onnx`, with
            the section `encoder` of a recipe in `arcface.yaml` beside it.

    Returns:
        The encoder, on the CPU and in evaluation mode.

    Raises:
        ModelError: The folder is missing, incomplete, damaged, or of another version, or holds two towers.
        SettingError: No weights are known of the package; or the settings beside an ONNX file are missing,
            or do not fit it.
        MissingDependencyError: The package is not installed.

    Example:
        >>> load("no/such/folder")
        Traceback (most recent call last):
        trine.errors.ModelError: there is no model folder no/such/folder; name one that training wrote
    """
    if str(path).startswith(PACKAGED):
        return pretrained_encoder(str(path))
    if Path(path).suffix.lower() == ONNX:
        return onnx_encoder(Path(path))
    return encoder_of(read_model(Path(path)), path)


def encoder_of(model: SavedModel, path: str | Path) -> Encoder:
    """Builds the encoder of a saved model.

    Args:
        model: What the model folder holds.
        path: The folder, for error messages.

    Returns:
        The encoder, on the CPU and in evaluation mode.

    Raises:
        ModelError: The model is damaged, or holds two towers.
    """
    if is_two_tower(model):
        raise ModelError(
            f"{path} holds a two-tower model of users and items, not an encoder of single items; use it with "
            "trine recommend, or open it with trine.encoders.load_two_tower"
        )
    encoder = _restored(Encoder, EncoderSettings, model, path)
    encoder.trained = model.trained
    encoder.strangers, encoder.left_out = model.strangers, model.left_out
    encoder.started_from = model.started_from
    return encoder


def load_two_tower(path: str | Path) -> TwoTower:
    """Loads a saved two-tower model; nothing in the folder is executed.

    Args:
        path: The model folder, or a run folder with a folder `model` inside.

    Returns:
        The model, on the CPU and in evaluation mode.

    Raises:
        ModelError: The folder is missing, incomplete, damaged, or of another version, or holds another model.
    """
    model = read_model(Path(path))
    if not is_two_tower(model):
        raise ModelError(
            f"{path} holds an encoder of {model.settings.get('kind')}, not a two-tower model; give a run "
            "that was trained on interactions"
        )
    return _restored(TwoTower, TwoTowerSettings, model, path)


def is_two_tower(model: SavedModel) -> bool:
    """Whether a saved model is a two-tower model of users and items, not an encoder of single items."""
    return model.settings.get("kind") == "interactions"


def _restored(kind: type[E], settings: type, model: SavedModel, path: str | Path) -> E:
    """Builds an encoder and loads its weights; whatever does not fit means that the folder is damaged.

    The settings may be a stranger's: before any memory is taken for the network, it is built without and
    compared with the weights that are there.
    """
    try:
        given: Any = parse(settings, model.settings, source=SETTINGS, key="encoder")
        check_settings(given)
        check_network(check_fits(lambda: kind(given), model.weights))
        encoder = kind(given)
        encoder.load_state_dict(dict(model.weights))
        check_weights(encoder)
    except MissingDependencyError:
        raise
    except Exception as error:  # torch, timm and transformers raise anything for settings that nobody wrote
        raise ModelError(
            f"{path} is damaged: its settings and its weights do not match ({first_line(error)}); copy the "
            "folder again or train again"
        ) from error
    if encoder.fingerprint != model.fingerprint:
        raise ModelError(
            f"{path} is damaged: its weights or settings were changed after saving (the fingerprint differs)"
            "; copy the folder again or train again"
        )
    encoder.calibration, encoder.cluster_threshold = model.calibration, model.cluster_threshold
    return encoder.eval()
