"""Losses beside trine's own: anything from embeddings and labels to one number trains an encoder.

They are passed in Python, or named in the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trine.errors import InputError, SettingError
from trine.shapes import Float, Int64
from trine.training.loss_recipe import GIVEN, AddedLossRecipe, LossRecipe
from trine.training.named_loss import build_loss
from trine.training.recipe import Recipe
from trine.training.schedule import stream_seed

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps embeddings, one row per item, and the identity of each to one number."""


@dataclass(frozen=True, eq=False)
class LossTerm:
    """A loss of a sum.

    Attributes:
        loss: The loss.
        name: Its name.
        stream: The name of its stream of randomness.
        weight: What it is multiplied by.
        classes: The training identities, ascending, if the loss takes their numbers from 0 as labels; None
            gives it the labels themselves.
    """

    loss: Loss
    name: str
    stream: str = "loss"
    weight: float = 1.0
    classes: Int64[Tensor, " c"] | None = None

    def value(self, embeddings: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
        """Returns the loss times its weight.

        Args:
            embeddings: One row per item.
            labels: The identity of each.

        Raises:
            InputError: It is not one number with a gradient, or a loss of the recipe cannot be computed.
        """
        if self.classes is None:
            return one_number(self.loss(embeddings, labels), name=self.name) * self.weight
        numbers = torch.searchsorted(self.classes.to(labels.device), labels)
        try:
            found = self.loss(embeddings, numbers)
        except Exception as error:  # whatever another library raises
            raise InputError(
                f"the loss {self.name} cannot be computed of {len(embeddings)} embeddings and their labels "
                f"({error}); change its arguments, or choose another loss"
            ) from error
        return one_number(found, name=self.name) * self.weight


def loss_terms(
    recipe: Recipe, loss: Loss | None, *, labels: Int64[np.ndarray, " n"], dimension: int
) -> tuple[LossTerm, ...]:
    """Lists the losses of a run beside trine's own, with new weights where they have some.

    Args:
        recipe: The recipe, as `with_loss` returns it.
        loss: The loss that was passed in Python; None without one.
        labels: The identity of each training item.
        dimension: The dimension of embeddings.

    Raises:
        SettingError: The name or an argument of a loss is unknown.
        MissingDependencyError: The library of a loss is not installed.
    """
    settings, classes = recipe.loss, torch.from_numpy(np.unique(labels))
    named: list[tuple[LossRecipe | AddedLossRecipe, str, str, float]] = []
    if settings.is_built:
        named.append((settings, "loss", "loss", 1.0))
    if settings.added is not None:
        named.append((settings.added, "loss.added", "added loss", settings.added.weight))
    terms = [] if loss is None else [LossTerm(loss, str(settings.given))]
    for section, key, stream, weight in named:
        torch.default_generator.manual_seed(stream_seed(recipe.seed, f"weights of {stream}"))
        made = build_loss(section.name, section.arguments, classes=len(classes), dimension=dimension, key=key)
        terms.append(LossTerm(made, section.name, stream, weight, classes))
    return tuple(terms)


def name_of_loss(loss: Loss) -> str:
    """Returns the full name of a function, or of the class of a callable object.

    Args:
        loss: The function or the object.

    Example:
        >>> import torch
        >>> name_of_loss(torch.nn.functional.l1_loss), name_of_loss(torch.nn.L1Loss())
        ('torch.nn.functional.l1_loss', 'torch.nn.modules.loss.L1Loss')
    """
    named: Any = loss
    while isinstance(named, partial):
        named = named.func
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{named.__module__}.{named.__qualname__}"


def with_loss(recipe: Recipe, loss: Loss | None) -> Recipe:
    """Records in a recipe the loss that was passed in Python.

    Args:
        recipe: The recipe.
        loss: The loss; None is the recipe's own.

    Returns:
        The recipe with `loss.name` "given" and the name of the loss; unchanged if `loss` is None.

    Raises:
        SettingError: The recipe has settings of another loss, or is the record of a run whose loss is
            missing here.
        InputError: The loss cannot be called.

    Example:
        >>> import torch
        >>> with_loss(Recipe(), torch.nn.L1Loss()).loss.given
        'torch.nn.modules.loss.L1Loss'
    """
    settings = recipe.loss
    if loss is None:
        if settings.name == GIVEN:
            raise SettingError(
                f"the recipe's loss is {settings.given}, which was passed in Python; pass it again as loss=, "
                "or set loss.name to triplet and loss.given to null"
            )
        return recipe
    if not callable(loss):
        raise InputError(
            f"loss must be callable with embeddings and labels, given {type(loss).__name__}; pass a function "
            "or a module"
        )
    given = name_of_loss(loss)
    if settings.name not in ("triplet", GIVEN) or settings.given not in (None, given):
        raise SettingError(
            f"the recipe's loss is {settings.given or settings.name}, but {given} was passed as loss=; leave "
            "loss.name at its default, or omit loss="
        )
    return replace(recipe, loss=replace(settings, name=GIVEN, given=given))


def one_number(value: object, *, name: str) -> Float[Tensor, ""]:
    """Checks that a loss returned one number with a gradient to the embeddings.

    Args:
        value: What it returned.
        name: The name of the loss.

    Returns:
        The same value as a scalar.

    Raises:
        InputError: It is not one number, or does not depend on the embeddings.
    """
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = (
            f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        )
        raise InputError(
            f"the loss {name} returned {what}, expected one number; reduce it, such as by its mean or sum"
        )
    if not value.requires_grad:
        raise InputError(
            f"the loss {name} returned a number with no gradient to the embeddings, so nothing can be "
            "learned from it; compute it from them in torch, and return embeddings.sum() * 0 for a batch "
            "without information"
        )
    return value.reshape(())


def check_nothing_hidden(
    value: Float[Tensor, ""],
    embeddings: Float[Tensor, "n d"],
    *,
    known: Iterable[nn.Parameter],
    name: str,
) -> None:
    """Checks that a loss has no trainable parameters that the optimiser does not know.

    Args:
        value: What the loss returned.
        embeddings: Its argument.
        known: The parameters that are trained with it.
        name: The name of the loss.

    Raises:
        InputError: It has some; they would silently stay untrained.
    """
    trained = {id(each) for each in known}
    stack: list[Any] = [value.grad_fn]
    seen = {embeddings.grad_fn}
    hidden = 0
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        hidden += leaf is not None and leaf is not embeddings and id(leaf) not in trained
        stack += [before for before, _ in node.next_functions]
    if hidden:
        raise InputError(
            f"the loss {name} has {hidden} trainable tensors that are not registered parameters, so they "
            "would not be trained; pass it as a torch.nn.Module that holds them"
        )
