"""Shapes in signatures: jaxtyping's names, which the test run checks and production ignores.

`Float[Tensor, "n d"]` reads "a floating-point tensor of n rows and d columns". If jaxtyping is not installed
(it is a development tool, not a dependency), each name means just the array type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Float32 as Float32
    from jaxtyping import Int as Int
    from jaxtyping import Int64 as Int64
    from jaxtyping import Shaped as Shaped
    from jaxtyping import UInt8 as UInt8
else:
    try:
        from jaxtyping import Bool, Float, Float32, Int, Int64, Shaped, UInt8
    except ImportError:

        class _Unchecked:
            def __class_getitem__(cls, item: tuple[type, str]) -> Any:
                return item[0]

        Bool = Float = Float32 = Int = Int64 = Shaped = UInt8 = _Unchecked

__all__ = ["Bool", "Float", "Float32", "Int", "Int64", "Shaped", "UInt8"]
