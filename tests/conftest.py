"""Every test runs with trine's shape annotations checked by jaxtyping and beartype."""

from jaxtyping import install_import_hook

with install_import_hook("trine", "beartype.beartype"):
    import trine  # noqa: F401

import torch

torch.set_num_threads(1)
