"""What each process does for the tests of samplers in the data loaders of other trainers."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trine import TripletLoss
from trine.data import PKSampler

LABELS = np.repeat(np.arange(12), 5)


def loader(**settings: Any) -> DataLoader[Any]:
    rows = torch.randn(len(LABELS), 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(rows, torch.from_numpy(LABELS), torch.arange(len(LABELS)))
    return DataLoader(data, batch_sampler=PKSampler(LABELS, identities=3, items=2, seed=1, **settings))


def in_accelerate(rank: int, size: int) -> list[list[list[int]]]:
    """The items of each batch, by epoch."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    network = nn.Linear(4, 2)
    network, prepared = accelerator.prepare(network, loader())
    loss = TripletLoss(across_processes=True)
    epochs = []
    for _ in range(2):
        epochs.append([])
        for rows, labels, ids in prepared:
            accelerator.backward(loss(network(rows), labels, ids))
            epochs[-1].append(ids.tolist())
    return epochs


def in_lightning(rank: int, size: int, folder: str, hook: bool) -> list[list[list[int]]]:
    """The same; the loader is given to `fit`, or made by the hook of a module."""
    import lightning.pytorch as lightning
    from lightning.fabric.plugins.environments import TorchElasticEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    epochs: list[list[list[int]]] = []

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.criterion = nn.Linear(4, 2), TripletLoss(across_processes=True)

        def on_train_epoch_start(self) -> None:
            epochs.append([])

        def training_step(self, batch: Any, index: int) -> Tensor:
            rows, labels, ids = batch
            epochs[-1].append(ids.tolist())
            return self.criterion(self.network(rows), labels, ids)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class WithLoader(Module):
        def train_dataloader(self) -> DataLoader[Any]:
            return loader()

    strategy = DDPStrategy(cluster_environment=TorchElasticEnvironment(), process_group_backend="gloo")
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", devices=size, strategy=strategy, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip
    if hook:
        trainer.fit(WithLoader())
    else:
        trainer.fit(Module(), loader())
    return epochs


def everything(rank: int, size: int, folder: str) -> dict[str, Any]:
    """All of them: starting the processes takes longer than what they do."""
    import os

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(size), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "tests"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    return {
        "accelerate": in_accelerate(rank, size),
        "lightning, given": in_lightning(rank, size, folder, hook=False),
        "lightning, hook": in_lightning(rank, size, folder, hook=True),
    }
