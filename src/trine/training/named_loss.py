"""Losses by name: a classification head, or any loss of pytorch-metric-learning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from trine.errors import SettingError, nearest, require
from trine.settings import Range, check_number
from trine.shapes import Float, Int64
from trine.training.loss_recipe import CLASSIFICATION, LIBRARY

OBJECTS = {
    "distance": "distances",
    "reducer": "reducers",
    "embedding_regularizer": "regularizers",
    "weight_regularizer": "regularizers",
}
"""Arguments that are objects of the library, and the module of their classes."""


UNUSABLE = {
    **dict.fromkeys(("CrossBatchMemory", "MultipleLosses", "SelfSupervisedLoss"), "takes other losses"),
    "GenericPairLoss": "is the base of other losses",
    **dict.fromkeys(("ManifoldLoss", "VICRegLoss"), "takes no labels"),
    "DynamicSoftMarginLoss": "keeps the graph of the last step",
}
"""Losses of the library that do not train on embeddings and labels as they are, and why."""

NO_SIZES: Mapping[str, int] = {}


class ClassificationLoss(nn.Module):
    """Cross-entropy of a linear layer that tells the training identities apart.

    Args:
        classes: The number of identities.
        dimension: The dimension of embeddings.
        label_smoothing: The share of the target that is spread over all identities, in [0, 1).

    Example:
        >>> import torch
        >>> loss = ClassificationLoss(3, 8)(torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.shape
        torch.Size([])
    """

    def __init__(self, classes: int, dimension: int, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        check_number("label_smoothing", label_smoothing, Range(at_least=0, below=1))
        self.layer = nn.Linear(dimension, classes)
        self.cross_entropy = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def forward(self, embeddings: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
        """Returns the mean over the items.

        Args:
            embeddings: One row per item.
            labels: The number of each item's identity, from 0.
        """
        value: Tensor = self.cross_entropy(self.layer(embeddings), labels)
        return value


def build_loss(
    name: str, arguments: Mapping[str, Any], *, classes: int, dimension: int, key: str = "loss"
) -> nn.Module:
    """Makes a loss from its name.

    Args:
        name: `classification`, or `pml:` and the name of a class of `pytorch_metric_learning.losses`.
        arguments: Its arguments. The number of classes and the dimension need not be given; a distance, a
            reducer or a regulariser is the name of its class, or a mapping of `name` and its arguments.
        classes: The number of training identities.
        dimension: The dimension of embeddings.
        key: The section of the recipe, for errors.

    Returns:
        The loss; its weights come from torch's global generator.

    Raises:
        SettingError: The loss or an argument is unknown, missing or out of range.
        MissingDependencyError: pytorch-metric-learning is not installed.

    Example:
        >>> build_loss("pml:ProxyAnchorLoss", {"margin": 0.2}, classes=5, dimension=8).proxies.shape
        torch.Size([5, 8])
    """
    if name == CLASSIFICATION:
        sizes = {"classes": classes, "dimension": dimension}
        made: nn.Module = _made(ClassificationLoss, arguments, sizes=sizes, name=name, key=f"{key}.arguments")
        return made
    library = require("pytorch_metric_learning.losses", extra="losses")
    sizes = dict.fromkeys(("embedding_size", "descriptors_dim", "l"), dimension) | {"num_classes": classes}
    given = {**arguments, "name": name.removeprefix(LIBRARY)}
    loss: nn.Module = _library_object(library, given, key=f"{key}.name", at=f"{key}.arguments", sizes=sizes)
    return loss


def _library_object(
    module: ModuleType, given: Mapping[str, Any], *, key: str, at: str, sizes: Mapping[str, int] = NO_SIZES
) -> Any:
    """Makes an object of a class of the library: `name` and arguments, which are in section `at`."""
    kinds = {
        each: kind
        for each, kind in inspect.getmembers(module, inspect.isclass)
        if not each.startswith("Base") and not each.endswith("Mixin") and each not in UNUSABLE
    }
    name = given.get("name")
    if name in UNUSABLE:
        raise SettingError(
            f"{key} is {name}, which {UNUSABLE[name]}; make it in Python, and pass a function "
            "that calls it as loss="
        )
    if name not in kinds:
        raise SettingError(f"{key} is {name!r}; {nearest(str(name), kinds)}")
    arguments = {each: value for each, value in given.items() if each != "name"}
    for argument, place in OBJECTS.items():
        if isinstance(value := arguments.get(argument), str | dict):
            inner = {"name": value} if isinstance(value, str) else value
            found = require(f"pytorch_metric_learning.{place}", extra="losses")
            where = f"{at}.{argument}"
            arguments[argument] = _library_object(found, inner, key=f"{where}.name", at=where)
    return _made(kinds[name], arguments, sizes=sizes, name=name, key=at)


def _made(kind: Any, arguments: Mapping[str, Any], *, sizes: Mapping[str, int], name: str, key: str) -> Any:
    parameters = _parameters(kind)
    for argument in arguments:
        if argument not in parameters:
            raise SettingError(f"{key}: {name} has no argument {argument!r}; {nearest(argument, parameters)}")
    needed = [each for each, default in parameters.items() if default is inspect.Parameter.empty]
    given = {**{each: sizes[each] for each in needed if each in sizes}, **arguments}
    if missing := [each for each in needed if each not in given]:
        raise SettingError(
            f"{key}: {name} needs {' and '.join(missing)}; set them, or make the loss in Python and "
            "pass it as loss="
        )
    try:
        return kind(**given)
    except SettingError as error:
        raise SettingError(f"{key}: {error}") from None
    except Exception as error:  # whatever the library raises for a value that it does not take
        raise SettingError(f"{key}: {name} does not take {dict(arguments)} ({error})") from error


def _parameters(kind: type) -> dict[str, Any]:
    """The parameters of a class and of those it passes further ones to, with their defaults."""
    found: dict[str, Any] = {}
    passes_all = True
    for each in inspect.getmro(kind):
        if "__init__" not in vars(each):
            continue
        signature = [*inspect.signature(each.__init__).parameters.values()][1:]  # type: ignore[misc]
        kinds = {parameter.kind for parameter in signature}
        for parameter in signature:
            # What a class needs is passed by the classes derived from it, unless they take any arguments.
            needed = parameter.default is parameter.empty
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and (
                passes_all or not needed
            ):
                found.setdefault(parameter.name, parameter.default)
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
        passes_all = passes_all and inspect.Parameter.VAR_POSITIONAL in kinds
    return found
