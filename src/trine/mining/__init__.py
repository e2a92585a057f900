"""Mining: the rules that choose triplets."""

from trine.engine.relations import Relations
from trine.mining.online import census, mine

__all__ = ["Relations", "census", "mine"]
