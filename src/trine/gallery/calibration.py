"""The threshold of a gallery for its own false-positive identification rate, kept up to date.

A stranger who is identified is compared with every identity of the gallery, so the rate of a threshold is
that of this gallery: it rises with the number of people, and changes with how alike they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from trine.errors import GalleryError, ModelError
from trine.gallery.decision import Threshold
from trine.gallery.embedding import EmbeddingEncoder
from trine.gallery.identify import Identifier, Ranking
from trine.gallery.store import Store
from trine.gallery.witness import outside_rates, own_pairs, own_rates
from trine.model import HeldOut, read_held_out
from trine.plain_json import parse_json
from trine.rates import SENTENCES, Promise, RateCurve, State, percent
from trine.strangers import LeftOut, Strangers

NOTE = "calibration"
"""The note that stores the calibration of each scoring."""

DEFAULT_FPIR = 0.01
"""The false-positive identification rate that an identification asks for."""

SMALL = 2000
"""Up to this many items, a gallery is calibrated again after every change."""

DRIFT = 0.1
"""A larger gallery is calibrated again when its number of items or identities has changed by this share."""

Source = Literal["gallery", "model", "folds", "strangers"]
"""Who the strangers were.

The gallery's own identities, those kept with the model, those that folds of its training left out, or data
that was given.
"""

WHO: Mapping[Source, str] = {
    "gallery": "its own identities",
    "model": "the identities kept with the model",
    "folds": "the identities that folds of the training left out",
    "strangers": "the strangers given",
}


@dataclass(frozen=True)
class GalleryCalibration:
    """The threshold of a gallery, and its false-positive identification rate.

    Attributes:
        asked: The rate that was asked for, in (0, 1).
        threshold: The largest accepted distance; None where no rate can be estimated.
        promise: The rate that the threshold keeps, and how firm it is; None without a threshold. Where the
            rate asked for is not possible, it is the smallest that is.
        source: Who the strangers were.
        items: How many items the gallery had.
        identities: How many identities the gallery had.
        content: A digest of what a small gallery held; "" for a large one.
        basis: A digest of the encoder, and of whom it was trained on and whom not.
        chosen: Whether `calibrate` was called for it, rather than a question asked.
        warning: What contradicts the threshold that the model was calibrated to, and what to do; "" if
            nothing does.

    Example:
        >>> promise = Promise("fpir", 0.01, "firm", 0.004, (0.0, 0.0098), 640)
        >>> print(GalleryCalibration(0.01, 0.7, promise, "gallery", 3200, 640))
        threshold 0.7: at most 1 % of strangers are named, firm; by 640 of its own identities
    """

    asked: float
    threshold: float | None
    promise: Promise | None
    source: Source
    items: int
    identities: int
    content: str = ""
    basis: str = ""
    chosen: bool = False
    warning: str = ""

    @property
    def state(self) -> State:
        """Whether the rate is firm, provisional, or not known."""
        return State.UNCALIBRATED if self.promise is None else self.promise.state

    @property
    def limit(self) -> Threshold | None:
        """The threshold of a decision; None where there is none."""
        return None if self.threshold is None else Threshold(self.threshold, self.promise)

    def to_json(self) -> dict[str, object]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "state": self.state}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        held = {name: value for name, value in fields.items() if name != "state"}
        promise = held["promise"]
        return cls(**{**held, "promise": None if promise is None else Promise.from_json(promise)})

    def fits(self, store: Store, basis: str) -> bool:
        """Whether the gallery is still what it was; a large one, or with strangers given, nearly so."""
        items = len(store)
        if self.basis != basis:
            return False
        if min(items, self.items) <= SMALL and self.source != "strangers":
            return items == self.items and self.content == content_of(store)
        counts = ((items, self.items), (len(store.identities()), self.identities))
        return all(abs(now - then) <= DRIFT * then for now, then in counts)

    def __str__(self) -> str:
        if self.promise is None:
            return (
                "uncalibrated: there are too few strangers to tell how often one is named (people that the "
                "encoder was trained on do not count), or too many are at distance 0 from another identity. "
                "Enrol more that it does not know, or calibrate with strangers"
            )
        who = f"{self.promise.identities} of {WHO[self.source]}"
        if self.promise.rate > self.asked:
            who += f", too few for {percent(self.asked)}"
        return f"threshold {self.threshold:.3g}: {self.promise}; by {who}"


@dataclass(frozen=True)
class Evidence:
    """How often strangers are named by a gallery.

    Attributes:
        source: Who the strangers are.
        rates: The rate of every threshold; None with too few strangers.
        warning: What contradicts the model; "" if nothing does.
        alike: Whether the strangers are known to be like the people of the gallery, or there is nothing to
            compare them with. Otherwise no rate is firm.
    """

    source: Source
    rates: RateCurve | None
    warning: str = ""
    alike: bool = True


def contradiction(promise: Promise, estimate: float, low: float) -> str:
    """The warning that a gallery's own identities contradict the rate that the model was calibrated for."""
    verb = SENTENCES[promise.name]
    return (
        f"the model was calibrated so that {promise}; among this gallery's own identities "
        f"{percent(estimate)} {verb} (at least {percent(low)}): these data are unlike those of the "
        "calibration. Calibrate the model on such data, or train on some"
    )


class Calibrator:
    """Calibrates a gallery, and keeps the threshold until the gallery changes."""

    def __init__(self, store: Store, identifier: Identifier, encoder: EmbeddingEncoder | None) -> None:
        """Takes the store, what ranks its identities, and the encoder.

        Without an encoder the folder of the gallery's model tells whom it was trained on.
        """
        self._store, self._identifier, self._encoder = store, identifier, encoder
        self._calibration = store.binding.calibration if encoder is None else encoder.calibration
        self._seen: dict[str, tuple[str, GalleryCalibration]] = {}
        self._measured: dict[str, tuple[GalleryCalibration, RateCurve | None]] = {}

    def current(self, ranking: Ranking) -> GalleryCalibration:
        """Returns the calibration of a scoring, made again if the gallery has changed since.

        The rate is the one that was asked for last, at first 1 %. Strangers that were given are not kept:
        when a tenth of the gallery has changed since, its own identities count again.
        """
        key, revision = _key(ranking), self._store.revision()
        if key in self._seen and self._seen[key][0] == revision:
            return self._seen[key][1]
        held = self._stored().get(key)
        if held is None:
            held = self._calibrated(DEFAULT_FPIR, ranking)
        elif not held.fits(self._store, self._basis):
            held = self._calibrated(held.asked, ranking, chosen=held.chosen)
        self._seen[key] = (self._store.revision(), held)
        return held

    def is_chosen(self, ranking: Ranking) -> bool:
        """Whether this scoring was calibrated on request."""
        held = self._stored().get(_key(ranking))
        return held is not None and held.chosen

    def calibrate(
        self, fpir: float, ranking: Ranking, *, strangers: Strangers | None = None
    ) -> GalleryCalibration:
        """Chooses the threshold for a rate, and stores it; see `Gallery.calibrate`."""
        return self._calibrated(fpir, ranking, strangers=strangers, chosen=True)

    def _calibrated(
        self, fpir: float, ranking: Ranking, *, strangers: Strangers | None = None, chosen: bool = False
    ) -> GalleryCalibration:
        # What another process enrols meanwhile does not count as measured.
        content = content_of(self._store) if len(self._store) <= SMALL else ""
        counts = self._store.identities()
        evidence = self._evidence(fpir, ranking, strangers)
        found = None if evidence.rates is None else evidence.rates.smallest(fpir)
        threshold, promise = (None, None) if found is None else found
        if promise is not None and not evidence.alike:
            promise = promise.provisional()
        made = GalleryCalibration(
            fpir,
            threshold,
            promise,
            evidence.source,
            sum(counts.values()),
            len(counts),
            content,
            self._basis,
            chosen,
            evidence.warning,
        )
        stored = {**self._stored(), _key(ranking): made}
        with suppress(GalleryError):  # a gallery that cannot be written is calibrated by each process
            self._store.note(NOTE, json.dumps({key: one.to_json() for key, one in stored.items()}))
        self._seen[_key(ranking)] = (self._store.revision(), made)
        self._measured[_key(ranking)] = made, evidence.rates
        return made

    def rates(self, ranking: Ranking) -> RateCurve | None:
        """The rate of every threshold, by the strangers of `current`; None with too few.

        Strangers that were given are known to the process that was given them; elsewhere it is by others.
        """
        key, current = _key(ranking), self.current(ranking)
        if key not in self._measured or self._measured[key][0] != current:
            self._measured[key] = current, self._evidence(current.asked, ranking, None).rates
        return self._measured[key][1]

    def _evidence(self, fpir: float, ranking: Ranking, given: Strangers | None) -> Evidence:
        """Who the strangers are: those given, the gallery's own, or, if these are too few, the model's."""
        if given is not None:
            rates = outside_rates(self._store, self._identifier, ranking, given)
            if rates is None:
                raise GalleryError(
                    "no stranger is left: all of the data is of identities of the gallery, or the gallery is "
                    "empty; give people who are not enrolled"
                )
            return Evidence("strangers", rates)
        own = own_rates(self._store, self._identifier, ranking, self._trained)
        of_pairs = self._contradicted_pairs()
        if own is not None and own.threshold(fpir) is not None:
            return Evidence("gallery", own, of_pairs)
        source, other = self._of_model(ranking)
        chosen = None if other is None else other.smallest(fpir)
        if chosen is None:
            return Evidence("gallery", own, of_pairs)
        if own is None:
            return Evidence(source, other, of_pairs, alike=source == "model")
        known = own.smallest(fpir)
        if known is not None and known[1].rate <= chosen[1].rate:
            return Evidence("gallery", own, of_pairs)
        estimate, (low, _) = own.at(chosen[0])
        if low <= chosen[1].bound:
            return Evidence(source, other, of_pairs, alike=False)
        return Evidence("gallery", own, contradiction(chosen[1], estimate, low))

    def _of_model(self, ranking: Ranking) -> tuple[Source, RateCurve | None]:
        """The rates by the strangers that the model brings."""
        kept: Strangers | None = getattr(self._model, "strangers", None)
        if kept is not None:
            return "model", outside_rates(self._store, self._identifier, ranking, kept)
        left_out: LeftOut | None = getattr(self._model, "left_out", None)
        identities = len(self._store.identities())
        if left_out is None or ranking.scoring != "best" or not identities:
            return "model", None
        return "folds", left_out.rates(identities)

    def _contradicted_pairs(self) -> str:
        """What the gallery's own identities say against the false-accept rate of the encoder."""
        known = self._calibration
        pairs = None if known is None else own_pairs(self._store, self._trained)
        if known is None or pairs is None:
            return ""
        estimate, (low, _) = pairs.at(known.threshold)
        return contradiction(known.promise, estimate, low) if low > known.promise.bound else ""

    @cached_property
    def _model(self) -> EmbeddingEncoder | HeldOut | None:
        """Who knows whom the encoder was trained on: it, or without it the folder of the gallery's model."""
        return held_out_of(self._store.binding.model) if self._encoder is None else self._encoder

    @cached_property
    def _basis(self) -> str:
        kept, left_out = (getattr(self._model, name, None) for name in ("strangers", "left_out"))
        parts = [
            self._store.binding.fingerprint,
            None if self._calibration is None else self._calibration.to_json(),
            sorted(self._trained),
            None if kept is None else [kept.names, len(kept)],
            None if left_out is None else [left_out.names, len(left_out.identity), left_out.met],
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    @property
    def _trained(self) -> Collection[str]:
        trained = getattr(self._model, "trained", None)
        return () if trained is None else trained.identities

    def _stored(self) -> dict[str, GalleryCalibration]:
        text = self._store.notes().get(NOTE)
        try:
            read = {} if text is None else parse_json(text)
            return {key: GalleryCalibration.from_json(one) for key, one in read.items()}
        except (ValueError, TypeError, KeyError, AttributeError, ModelError):
            return {}  # of another version: made again


def held_out_of(folder: str | None) -> HeldOut | None:
    """Whom the model in a folder was trained on; None if the folder is missing."""
    return None if folder is None or not Path(folder).is_dir() else read_held_out(Path(folder))


def content_of(store: Store) -> str:
    """A digest of the identities, items and embeddings of a gallery, in any order."""
    total = 0
    for record in store.scan():
        text = json.dumps([record.identity, record.item, record.metadata]).encode()
        one = hashlib.blake2b(text + record.embedding.tobytes(), digest_size=8).digest()
        total += int.from_bytes(one)
    return f"{total % 2**64:016x}"


def _key(ranking: Ranking) -> str:
    top = ranking.top if ranking.scoring == "mean" else None
    return json.dumps([ranking.scoring, top, ranking.quality])
