"""Reads files that earlier versions wrote; the only module that knows their old names.

The tables of a gallery are upgraded by its store: see `UPGRADES` in `gallery/sqlite/schema.py` and
`gallery/postgres/settings.py`.

Model folders (with the recipe next to them) and galleries outlive a renaming. Whatever is read from an old
file passes through here first, so no other module knows two names for the same thing.
`tests/fixtures/<commit>` holds files written by that commit, with the answers it gave.

To rename a key of a file, add its old path and its new name to the table of that file. Paths are dotted:
`"encoder.views"` is the key `views` in the section `encoder`; the elements of a list have the path of the
list.

A fingerprint covers the names of settings and of tensors. Galleries are bound to it, so it is always computed
over the names of version 1: renaming does not change a model's fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODEL_KEYS: dict[str, str] = {
    "encoder.met": "known",
    "figures": "metrics",
}
"""Keys of settings.json in a model folder of version 1, and today's."""

TENSORS: dict[str, str] = {
    "met": "known",
}
"""Names of tensors in weights.safetensors of version 1, and today's."""

RECIPE_KEYS = {
    "encoder.tokens": "max_length",
    "training.network_rate": "backbone_lr_scale",
}
"""Keys of recipe.yaml in a run folder of version 1, and today's."""

GALLERY_KEYS = {
    "form": "dtype",
}
"""Keys of what a gallery, or a table exported from one, is bound to in version 1, and today's."""


def upgrade_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a settings.json of version 1 under today's names.

    Args:
        settings: The parsed file: the encoder's settings, its calibration, and what the card says.

    Example:
        >>> upgrade_model({"format_version": 1, "figures": {"MAP@R": 0.8}})
        {'format_version': 1, 'metrics': {'MAP@R': 0.8}}
    """
    return dict(_renamed(settings, MODEL_KEYS))


def upgrade_tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tensors of a model folder of version 1 under today's names."""
    return {TENSORS.get(name, name): tensor for name, tensor in tensors.items()}


def upgrade_recipe(recipe: Any) -> Any:
    """Returns the content of a run's recipe.yaml under today's names, whichever version wrote it.

    Args:
        recipe: The parsed file; anything but a mapping is returned as it is.

    Example:
        >>> upgrade_recipe({"seed": 1, "training": {"network_rate": 0.1}})
        {'seed': 1, 'training': {'backbone_lr_scale': 0.1}}
    """
    return _renamed(recipe, RECIPE_KEYS)


def upgrade_gallery(binding: Mapping[str, str]) -> dict[str, str]:
    """Returns what a gallery, or a table exported from one, is bound to under today's names.

    Example:
        >>> upgrade_gallery({"dimension": "2", "form": "int8"})
        {'dimension': '2', 'dtype': 'int8'}
    """
    return dict(_renamed(binding, GALLERY_KEYS))


def fingerprint_settings(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of an encoder under the names of version 1, which its fingerprint covers."""
    first = {}
    for path, new in MODEL_KEYS.items():
        section, _, old = path.rpartition(".")
        first[f"{section}.{new}" if section else new] = old
    return dict(_renamed(encoder, first, "encoder."))


def fingerprint_tensor(name: str) -> str:
    """Returns the name that version 1 gave to a tensor, which the fingerprint covers."""
    return {new: old for old, new in TENSORS.items()}.get(name, name)


def _renamed(content: Any, names: Mapping[str, str], path: str = "") -> Any:
    """Copies nested mappings and lists, with the key at each dotted path in `names` renamed."""
    if isinstance(content, list | tuple):
        return [_renamed(value, names, path) for value in content]
    if not isinstance(content, Mapping):
        return content
    return {
        names.get(f"{path}{key}", key): _renamed(value, names, f"{path}{key}.")
        for key, value in content.items()
    }


def upgrade_calibration(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stored calibration, or the threshold of a gallery, in today's form.

    Before there were promises it held the rate in `far` and its interval in `far_interval`. Such a rate was
    measured over pairs and never bounded over identities, so it is provisional.

    Example:
        >>> old = {"threshold": 0.9, "far": 0.01, "identities": 40, "provisional": False}
        >>> upgrade_calibration(old)["promise"]["state"]
        'provisional'
    """
    fields = dict(calibration)
    if "promise" in fields or "far" not in fields:
        return fields
    far, interval = fields.pop("far"), fields.pop("far_interval", None)
    identities = fields.pop("identities", 1)
    fields.pop("provisional", None)
    fields["promise"] = far and {
        "name": "far",
        "rate": far,
        "state": "provisional",
        "estimate": far,
        "interval": [min(far, interval[0]), max(far, interval[1])] if interval else [0.0, 1.0],
        "identities": identities,
    }
    return fields
