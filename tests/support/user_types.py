"""What a user writes against trine's types: `test_types.py` checks each line that ends in a comment.

`# error: CODE` stands where a type checker has to object, `# type: X` where it has to see that type.
"""

from typing import TYPE_CHECKING, reveal_type

import numpy as np
import torch
from torch import Tensor

import trine
from trine import ContrastiveLoss, CrossBatchMemory, Mining, TripletLoss, contrastive_loss, mine, triplet_loss
from trine.evaluation import retrieval, verification
from trine.losses import differentiable_triplet_loss
from trine.neighbours import nearest_neighbours

if TYPE_CHECKING:  # the wrong lines are never run
    x = torch.randn(8, 4)
    y = torch.arange(8) // 2
    rows = np.zeros((8, 4))

    reveal_type(triplet_loss(x, y))  # type: Tensor
    reveal_type(triplet_loss(x, y, margin=None, mining="hard", reduction="sum", item_ids=y))  # type: Tensor
    reveal_type(triplet_loss(x, y, return_census=True))  # type: tuple[Tensor, Census]
    reveal_type(triplet_loss(x, mine(x, y), swap=True))  # type: Tensor
    reveal_type(triplet_loss(x, y, mining=Mining("hard", "semihard")))  # type: Tensor
    reveal_type(TripletLoss(margin=0.5, mining="semihard-strict")(x, y))  # type: Tensor
    reveal_type(ContrastiveLoss(form="linear")(x, y))  # type: Tensor
    reveal_type(CrossBatchMemory(TripletLoss(), size=10, dimension=4)(x, y, y))  # type: Tensor
    reveal_type(mine(x, y, mining="random", distance="cosine"))  # type: Triplets
    reveal_type(trine.census(x, y).hard)  # type: int
    reveal_type(trine.pairwise_distances(x))  # type: Tensor
    reveal_type(trine.cached_backward(torch.nn.Linear(4, 2), x, y, TripletLoss()))  # type: Tensor
    reveal_type(retrieval(rows, y).recall_at(1))  # type: float
    reveal_type(nearest_neighbours(rows, k=2).indices)  # type: ndarray[tuple[Any, ...], dtype[Any]]

    def embedded(network: torch.nn.Module, batch: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = TripletLoss()(network(batch), labels)
        return loss

    triplet_loss(x, y, margn=0.2)  # error: call-overload
    triplet_loss(x, y, mining="batch_hard")  # error: call-overload
    triplet_loss(x, y, reduction="average")  # error: call-overload
    triplet_loss(x, y, distance="cos")  # error: call-overload
    triplet_loss(x, y, margin="0.2")  # error: call-overload
    triplet_loss([[0.0]], y)  # error: call-overload
    triplet_loss(x, y, return_census=True).backward()  # error: attr-defined
    TripletLoss(mining="batch_hard")  # error: arg-type
    TripletLoss(reduction="average")  # error: arg-type
    TripletLoss(distance="cos")  # error: arg-type
    TripletLoss(margn=0.2)  # error: call-arg
    TripletLoss()(x, y, refs=x)  # error: call-arg
    TripletLoss()(None, y)  # error: arg-type
    contrastive_loss(x, y, reduction="anchor")  # error: arg-type
    contrastive_loss(x, y, form="square")  # error: arg-type
    ContrastiveLoss(distance="manhattan")  # error: arg-type
    differentiable_triplet_loss(x, y, mining="hardest")  # error: arg-type
    mine(x, y, mining="semi-hard")  # error: arg-type
    mine(x, y, distance="l2")  # error: arg-type
    Mining("harder")  # error: arg-type
    Mining.named("batch_all")  # error: arg-type
    trine.pairwise_distances(x, distance="l2")  # error: arg-type
    trine.census(x, y, marign=0.1)  # error: call-arg
    retrieval(rows, y, distance="l2")  # error: arg-type
    verification(rows, y, distnce="cosine")  # error: call-arg
    nearest_neighbours(rows, k="2")  # error: arg-type
