"""Shapes in signatures: jaxtyping's names, which the test run checks and production ignores.

`Float[Tensor, "n d"]` reads "a floating-point tensor of n rows and d columns". If jaxtyping is not installed
(it is a development tool, not a dependency), each name means just the array type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The type checker sees the array type, whether or not jaxtyping is installed.
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Float32
    from typing import Annotated as Float64
    from typing import Annotated as Int
    from typing import Annotated as Int64
    from typing import Annotated as Shaped
    from typing import Annotated as UInt8
else:
    try:
        from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, Shaped, UInt8
    except ImportError:

        class _Unchecked:
            def __class_getitem__(cls, item: tuple[type, str]) -> Any:
                return item[0]

        Bool = Float = Float32 = Float64 = Int = Int64 = Shaped = UInt8 = _Unchecked

__all__ = ["Bool", "Float", "Float32", "Float64", "Int", "Int64", "Shaped", "UInt8"]
