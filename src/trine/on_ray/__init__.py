"""Work on Ray: the same results as one process, computed on the cores of this machine or of a cluster.

Ray places the work, does it again when a worker or a node dies, and hands the results back; this package
says what the work is. Whatever is embedded goes through one stream (`trine.on_ray.stream`), which an encoder
takes in place of its own loop. Whatever trains is one pipeline in each of Ray Train's workers
(`trine.on_ray.train`).
"""

from trine.on_ray.connect import check_address, connected, workers_import_this_trine
from trine.on_ray.embed import write_embeddings_on
from trine.on_ray.stream import each_on, embeds_on
from trine.on_ray.train import train_on

__all__ = [
    "check_address",
    "connected",
    "each_on",
    "embeds_on",
    "train_on",
    "workers_import_this_trine",
    "write_embeddings_on",
]
