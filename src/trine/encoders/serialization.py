"""An encoder on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trine.encoders.encoder import Encoder
from trine.encoders.settings import EncoderSettings
from trine.encoders.two_tower import TwoTower, TwoTowerSettings
from trine.errors import ModelError, SettingError
from trine.model import SETTINGS, SavedModel, read_model, write_model
from trine.settings import parse, plain


def save(
    encoder: Encoder | TwoTower,
    folder: str | Path,
    *,
    metrics: Mapping[str, float] | None = None,
    trained_on: str = "",
) -> None:
    """Saves an encoder as a folder: weights, settings and calibration, and a card.

    Args:
        encoder: What to save; its calibration goes with it, where it has one.
        folder: Where; a model that stands there is replaced, whole or not at all.
        metrics: Named metrics for the card.
        trained_on: A phrase for the card, such as `"30 identities of faces_orl"`.

    Raises:
        ModelError: Something that is no model stands there, or the disk refuses.
    """
    model = SavedModel(
        weights={name: tensor.detach().cpu() for name, tensor in encoder.state_dict().items()},
        settings=plain(encoder.settings),
        fingerprint=encoder.fingerprint,
        calibration=encoder.calibration if isinstance(encoder, Encoder) else None,
        metrics=metrics or {},
        trained_on=trained_on,
    )
    write_model(model, folder=Path(folder))


def load(path: str | Path) -> Encoder:
    """Loads a saved encoder; nothing in the folder is executed.

    Args:
        path: The model folder, or a run folder with a folder `model` inside.

    Returns:
        The encoder, on the CPU and in evaluation mode.

    Raises:
        ModelError: The folder is missing, incomplete, damaged, or of another version, or holds two towers.

    Example:
        >>> load("no/such/folder")
        Traceback (most recent call last):
        trine.errors.ModelError: there is no model folder no/such/folder; name one that training has \
written
    """
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
            f"{path} holds two towers, of users and of items, and no encoder of single things; ask it with "
            "trine recommend, or open it with trine.encoders.load_two_tower"
        )
    with _belonging(path, model) as belongs:
        encoder = Encoder(parse(EncoderSettings, model.settings, source=SETTINGS, key="encoder"))
        belongs(encoder)
    encoder.calibration = model.calibration
    return encoder.eval()


def load_two_tower(path: str | Path) -> TwoTower:
    """Loads saved towers; nothing in the folder is executed.

    Args:
        path: The model folder, or a run folder with a folder `model` inside.

    Returns:
        The towers, on the CPU and in evaluation mode.

    Raises:
        ModelError: The folder is missing, incomplete, damaged, or of another version, or holds no towers.
    """
    model = read_model(Path(path))
    if not is_two_tower(model):
        raise ModelError(
            f"{path} holds an encoder of {model.settings.get('kind')} and not two towers; name a run that "
            "was trained on interactions"
        )
    with _belonging(path, model) as belongs:
        towers = TwoTower(parse(TwoTowerSettings, model.settings, source=SETTINGS, key="encoder"))
        belongs(towers)
    return towers.eval()


def is_two_tower(model: SavedModel) -> bool:
    """Says whether a saved model is that of users and items, and not an encoder of single things."""
    return model.settings.get("kind") == "interactions"


@contextmanager
def _belonging(path: str | Path, model: SavedModel) -> Iterator[Callable[[Encoder | TwoTower], None]]:
    """Yields what fills an encoder with its weights; all that does not fit is a damage."""

    def fill(encoder: Encoder | TwoTower) -> None:
        encoder.load_state_dict(dict(model.weights))
        if encoder.fingerprint != model.fingerprint:
            raise ModelError(
                f"{path} is damaged: its weights or settings are not those that were saved (the "
                "fingerprint differs); copy the folder again or train again"
            )

    try:
        yield fill
    except (SettingError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{path} is damaged: its settings and its weights do not belong together ({reason}); "
            "copy the folder again or train again"
        ) from error
