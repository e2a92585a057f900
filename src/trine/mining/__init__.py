"""Mining: the rules that choose triplets."""

from trine.mining.online import census, mine
from trine.mining.relations import Relations

__all__ = ["Relations", "census", "mine"]
