"""A gallery in a folder or a bucket that many machines share, in LanceDB's tables."""

from trine.gallery.lance.address import SCHEMES, Address
from trine.gallery.lance.settings import LanceSettings
from trine.gallery.lance.store import LanceStore

__all__ = ["SCHEMES", "Address", "LanceSettings", "LanceStore"]
