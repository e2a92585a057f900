"""The section `data` of a recipe: which items are used, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from trine.errors import SettingError
from trine.settings import Range, Settings, Share

LISTS = ("train_identities", "validation_identities", "test_identities")
"""The settings that list the identities of each part."""

FOLDS = ("test_folds", "validation_folds")
"""The settings that list the folds of each part."""


@dataclass(frozen=True)
class DataRecipe(Settings):
    """Which items are used, and how they are split into parts.

    Attributes:
        detect: Whether faces are found on the photos and aligned first; of each photo the largest counts, and
            photos without a face that can be seen well are left out. Images of exactly the side of an aligned
            face, 150 pixels (112 for `encoder.faces: arcface`), count as aligned. null does so where the
            network takes faces.
        identities: The names of the identities to use; null uses all of them.
        split: How the data is split. `identity`: no identity is in two parts. `stratified`: every identity is
            in every part. `column`: by a column of the data. `named`: the identities of each part are listed.
            `open`: some identities are in the test part only, the others are split as by `stratified`.
            `folds`: by the folds of a list of pairs, see `test_folds` and `validation_folds`. `auto`:
            `column` where the data has such a column, else `identity` from 20 identities on, else
            `stratified`. For triplet judgements about items without identities: `triplets` tests on unseen
            judgements about known items, `items` on judgements about unseen items, and `auto` is `triplets`.
        test: The share of the data for the test part.
        validation: The share for the validation part, which decides when to stop; 0 leaves it out.
        calibration: The share of the identities that is kept out of all other parts, to calibrate the
            threshold on people that no training saw, where neither validation nor test has such; null keeps
            out a fifth of 50 identities or more, and none of fewer. They stay with the model as strangers.
        calibration_folds: How many times the encoder is trained again, each time without some identities, to
            calibrate the threshold on these where none are kept out: at least 2, or 0. null takes 3 where
            the network is frozen, which is cheap, and 0 elsewhere.
        keep_strangers: Whether the embeddings of identities that no training saw stay with the model, so that
            a gallery can be calibrated with them.
        shots: The most training items of each identity, drawn by the seed; null uses all of them.
        test_folds: With `folds`: the folds of the test part.
        validation_folds: With `folds`: the folds of the validation part, which also sets the threshold.
        seed: The seed of the split; null takes the seed of the run. Runs with different seeds but the same
            `data.seed` are tested on the same items, so that they can be compared.
        train_identities: With `named`: the training identities, as names or as ranges of whole numbers such
            as 1-385, in which leading zeros do not matter. Identities in no list are left out.
        validation_identities: With `named`: the validation identities; if empty, `validation` is the share of
            the training identities to use.
        test_identities: With `named`: the test identities.
        unknown_identities: With `open`: the identities that are in the test part only, or how many to draw.
    """

    detect: bool | None = None
    identities: tuple[str | int, ...] | None = None
    split: Literal[
        "auto", "identity", "stratified", "column", "named", "open", "folds", "triplets", "items"
    ] = "auto"
    test: Share = 0.25
    validation: Share = 0.0
    calibration: Share | None = None
    calibration_folds: Annotated[int, Range(at_least=0)] | None = None
    keep_strangers: bool = True
    shots: Annotated[int, Range(at_least=2)] | None = None
    test_folds: tuple[int | str, ...] = ()
    validation_folds: tuple[int | str, ...] = ()
    seed: Annotated[int, Range(at_least=0)] | None = None
    train_identities: tuple[str | int, ...] = ()
    validation_identities: tuple[str | int, ...] = ()
    test_identities: tuple[str | int, ...] = ()
    unknown_identities: Annotated[int, Range(at_least=1)] | tuple[str | int, ...] | None = None

    @property
    def has_validation(self) -> bool:
        """Whether the settings request a validation part."""
        return self.validation > 0 or bool(self.validation_identities or self.validation_folds)

    def check(self) -> None:
        """Raises a `SettingError` if the split lacks a setting, or a setting belongs to another split."""
        if self.test + self.validation >= 1:
            raise SettingError(
                f"data.test {self.test:g} and data.validation {self.validation:g} leave nothing to train on; "
                "choose shares that add up to less than 1"
            )
        if self.calibration_folds == 1:
            raise SettingError(
                "data.calibration_folds is 1, and one fold would leave out every identity; set it to 2 or "
                "more, or to 0"
            )
        self._check_lists("named", LISTS, needed=("train_identities", "test_identities"), example="[1-385]")
        self._check_lists("folds", FOLDS, needed=("test_folds",), example="[5]")
        if (self.split == "open") != (self.unknown_identities is not None):
            raise SettingError(
                "data.split open and data.unknown_identities must be set together; set both, or neither"
            )

    def _check_lists(
        self, split: str, lists: tuple[str, ...], *, needed: tuple[str, ...], example: str
    ) -> None:
        """Checks that the lists of a split are given with that split, and with no other."""
        given = [name for name in lists if getattr(self, name)]
        if self.split != split and given:
            raise SettingError(
                f"data.{given[0]} needs data.split {split}, given {self.split}; set data.split to {split}, "
                f"or {' and '.join(f'data.{name}' for name in given)} to []"
            )
        missing = [name for name in needed if name not in given]
        if self.split == split and missing:
            raise SettingError(
                f"data.split {split} needs data.{missing[0]}; set it to a list such as {example}"
            )
