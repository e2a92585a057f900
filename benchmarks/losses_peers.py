"""The losses of benchmarks/losses.py in other libraries, with their settings made ours.

open-metric-learning asks for an older numpy than the others and is not installed with them. It is measured
where Python finds it; it runs with the others' numpy all the same:

    pip install --no-deps --target peers open-metric-learning==4.0.0 validators gdown omegaconf
    pip install --no-deps --target peers requests urllib3 certifi beautifulsoup4 soupsieve
    pip install --no-deps --target peers antlr4-python3-runtime==4.9.3
    PYTHONPATH=peers taskset -c 0 python benchmarks/losses.py
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def peers(rule: str, y: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """The same loss in other libraries, with their settings made ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sentence_transformers.sentence_transformer.losses as st
        from pytorch_metric_learning import distances, losses, miners, reducers
    l2 = distances.LpDistance(normalize_embeddings=False)
    loss = losses.TripletMarginLoss(margin=0.2, distance=l2)
    mean = losses.TripletMarginLoss(margin=0.2, distance=l2, reducer=reducers.MeanReducer())
    hardest = miners.BatchHardMiner(distance=l2)
    if rule in ("all", "few active"):
        run = st.BatchAllTripletLoss(None, margin=0.2).batch_all_triplet_loss
        return {"sentence-transformers": lambda x: run(y, x), "pytorch-metric-learning": lambda x: loss(x, y)}
    if rule == "hard":
        run = st.BatchHardTripletLoss(None, margin=0.2).batch_hard_triplet_loss
        return {
            "sentence-transformers": lambda x: run(y, x),
            "pytorch-metric-learning": lambda x: mean(x, y, hardest(x, y)),
            **_open_metric_learning(y),
        }
    if rule == "semihard":
        run = st.BatchSemiHardTripletLoss(None, margin=0.2).batch_semi_hard_triplet_loss
        return {"sentence-transformers": lambda x: run(y, x)}
    if rule == "soft":
        return {"naive torch": lambda x: naive_soft(x, y)}
    return {}


def _open_metric_learning(y: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    if importlib.util.find_spec("oml") is None:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from oml.losses.triplet import TripletLossWithMiner
        from oml.miners.inbatch_hard_tri import HardTripletsMiner
    loss = TripletLossWithMiner(margin=0.2, miner=HardTripletsMiner(), need_logs=False)
    return {"open-metric-learning": lambda x: loss(x, y)}


def naive_soft(x: Tensor, y: Tensor) -> Tensor:
    """The soft margin over a list of the positive pairs × all references, as one would write it down."""
    d = torch.cdist(x, x)
    same = y[:, None] == y[None]
    a, p = (same & ~torch.eye(len(y), dtype=torch.bool)).nonzero(as_tuple=True)
    return F.softplus(d[a, p][:, None] - d[a])[~same[a]].mean()
