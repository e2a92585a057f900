"""What all samplers share: epochs decided by a seed, a part for each process, and resuming."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from torch.utils.data import Sampler

from trine.errors import SettingError, check_count


class EpochSampler(Sampler[list[int]]):
    """Batches of positions, epoch by epoch; a subclass makes the batches of an epoch.

    Args:
        seed: With the epoch it decides every batch.
        rank: The number of this process, from 0.
        world_size: The number of processes.

    Attributes:
        fingerprint: Identifies the data and the settings: samplers with the same one make the same batches.

    Raises:
        SettingError: A setting is out of range.
    """

    fingerprint: str
    _batches: int

    def __init__(self, *, seed: int, rank: int, world_size: int) -> None:
        check_at_least(seed=(seed, 0), world_size=(world_size, 1), rank=(rank, 0))
        if rank >= world_size:
            raise SettingError(f"rank={rank} is out of range: expected below world_size={world_size}")
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._epoch = self._handed_out = self._start = 0

    @property
    def sampler(self) -> Self:
        """The sampler itself: trainers tell the `sampler` of a batch sampler which epoch begins."""
        return self

    def __len__(self) -> int:
        """Returns the number of batches in an epoch, for each process; it is the same in every epoch."""
        return self._batches

    @abstractmethod
    def batches_of(self, epoch: int) -> Sequence[list[int]]:
        """Makes all batches of an epoch, for this process."""

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the rest of the epoch, then advances to the next epoch."""
        epoch, start = self._epoch, self._start
        self._start = 0
        for number, batch in enumerate(self.batches_of(epoch)[start:], start=start + 1):
            self._handed_out = number
            yield batch
        if self._epoch == epoch:
            self._epoch, self._handed_out = epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next iteration; the same epoch keeps a loaded position.

        Args:
            epoch: The epoch's number, from 0.

        Raises:
            SettingError: The number is negative.
        """
        check_at_least(epoch=(epoch, 0))
        if epoch != self._epoch:
            self._epoch, self._handed_out, self._start = epoch, 0, 0

    def state_dict(self, *, epoch: int | None = None, batches: int | None = None) -> dict[str, int | str]:
        """Returns the position of the sampler, for `load_state_dict`.

        A data loader with workers fetches batches ahead, so the sampler has handed out more batches than
        were trained on: pass what the training loop counted.

        Args:
            epoch: The epoch; None takes the sampler's.
            batches: How many batches of the epoch are done; None takes those handed out.

        Returns:
            A dictionary that JSON can hold, the same for all processes.
        """
        return {
            "epoch": self._epoch if epoch is None else epoch,
            "batches": self._handed_out if batches is None else batches,
            "fingerprint": self.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a position; the next iteration hands out the rest of that epoch.

        This is for a training loop of your own; trine's resumes through `BatchLoader`.

        Args:
            state: What `state_dict` returned.

        Raises:
            SettingError: The state is malformed, or comes from other data or settings.
        """
        if missing := [name for name in ("epoch", "batches", "fingerprint") if name not in state]:
            raise SettingError(f"the sampler's state lacks {missing[0]!r}: expected what state_dict returned")
        if state["fingerprint"] != self.fingerprint:
            raise SettingError(
                "the sampler's state was saved with other data or other settings: resume with the same "
                "arguments, apart from rank, or start a new run"
            )
        if not (state["epoch"] >= 0 and 0 <= state["batches"] <= len(self)):
            raise SettingError(
                f"the sampler's state has epoch {state['epoch']} and {state['batches']} batches, "
                f"expected 0 or more, and 0 to {len(self)}"
            )
        self._epoch = int(state["epoch"])
        self._start = self._handed_out = int(state["batches"])


def check_at_least(**settings: tuple[int, int]) -> None:
    """Raises a `SettingError` for a setting below its least value; each is given as (value, least)."""
    for name, (value, least) in settings.items():
        check_count(name, value, at_least=least, error=SettingError)
