"""trine's loss inside the trainers of others: a LightningModule, and Hugging Face's Trainer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trine
from support.multiprocess import run_processes
from support.multiprocess_loaders import LABELS
from support.runs import rows
from trine.data import PKSampler

DATA = rows([20] * 4, spread=0.6)
X = torch.from_numpy(DATA.items.rows).float()
Y = torch.from_numpy(DATA.labels)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # what these libraries warn about is not trine's
]


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(X.shape[1], 4)


def by_hand(steps: int, rate: float) -> tuple[nn.Module, list[float]]:
    """The same steps in a plain loop."""
    network, criterion = encoder(), trine.TripletLoss(mining="semihard")
    optimizer, losses = torch.optim.SGD(network.parameters(), lr=rate), []
    for _ in range(steps):
        loss = criterion(network(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, losses


def test_inside_a_lightning_module(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder()
            self.criterion = trine.TripletLoss(mining="semihard")

        def training_step(self, batch: Any, index: int) -> Tensor:
            return self.criterion(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=len(X))
    trainer = lightning.Trainer(
        max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, data)
    expected, losses = by_hand(5, 0.1)
    assert losses[0] > losses[-1] > 0
    torch.testing.assert_close(module.network.weight, expected.weight)


def test_inside_a_hugging_face_trainer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder()
            self.criterion = trine.TripletLoss(mining="semihard")

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            embeddings = self.network(x)
            return {"loss": self.criterion(embeddings, labels), "embeddings": embeddings}

    model = Model()
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=5, per_device_train_batch_size=len(X), learning_rate=0.1,
            optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0, use_cpu=True, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True,
        ),
        train_dataset=[{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)],
    )  # fmt: skip
    trainer.train()
    expected, losses = by_hand(5, 0.1)
    assert losses[0] > losses[-1] > 0
    torch.testing.assert_close(model.network.weight, expected.weight, rtol=1e-3, atol=1e-4)


def test_a_sampler_in_distributed_loaders(tmp_path: Path) -> None:
    """With the settings of Lightning and Accelerate as they are, each item comes once in an epoch."""
    pytest.importorskip("lightning.pytorch")
    pytest.importorskip("accelerate")
    found = run_processes(2, "support.multiprocess_loaders:everything", str(tmp_path))
    settings = {"identities": 3, "items": 2, "seed": 1}
    alone = PKSampler(LABELS, **settings)
    for way in ("accelerate", "lightning, given", "lightning, hook"):
        for epoch in range(2):
            mine, theirs = (each[way][epoch] for each in found)
            if way == "accelerate":
                batches = alone.batches_of(epoch)
                assert (mine, theirs) == (batches[::2], batches[1::2])
            else:
                for rank, batches in enumerate((mine, theirs)):
                    assert batches == PKSampler(LABELS, **settings, rank=rank, world_size=2).batches_of(epoch)
            assert sorted(item for batch in mine + theirs for item in batch) == list(range(len(LABELS)))
        assert found[0][way][0] != found[0][way][1]
