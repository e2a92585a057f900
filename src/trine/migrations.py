"""Files that an earlier trine wrote, in the words of this one: the only module that knows old names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECIPE = {
    "encoder": {"tokens": "max_length"},
    "training": {"network_rate": "backbone_lr_scale"},
}
"""Settings of a run's recipe by section: the name they had, and the name they have now."""


def current_recipe(content: Any) -> Any:
    """Translates what a run's recipe.yaml holds.

    Args:
        content: The file's content; anything but a mapping is returned as it is.

    Returns:
        The same settings under their present names.

    Example:
        >>> current_recipe({"seed": 1, "training": {"network_rate": 0.1}})
        {'seed': 1, 'training': {'backbone_lr_scale': 0.1}}
    """
    if not isinstance(content, dict):
        return content
    return {section: _renamed(settings, RECIPE.get(section, {})) for section, settings in content.items()}


def _renamed(settings: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {names.get(name, name): value for name, value in settings.items()}
