"""Use the triplet loss in your own Lightning module.

The loss is an ordinary `torch.nn.Module`, so Lightning trains with it as with any other loss.

    python examples/lightning_module.py
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from trine import TripletLoss
from trine.data import PKSampler
from trine.evaluation import retrieval


class DigitEmbedding(lightning.LightningModule):
    """A small network that embeds an image of a digit as 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Sequential(
            torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16)
        )
        self.loss = TripletLoss(margin=0.2, mining="semihard")

    def forward(self, images):
        return torch.nn.functional.normalize(self.network(images))

    def training_step(self, batch):
        images, labels = batch
        return self.loss(self(images), labels)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main() -> None:
    lightning.seed_everything(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
    train, test = torch.arange(0, 1200), torch.arange(1200, len(labels))
    sampler = PKSampler(digits[train], identities=10, items=8, seed=0)
    batches = DataLoader(TensorDataset(images[train], labels[train]), batch_sampler=sampler)
    model = DigitEmbedding()
    trainer = lightning.Trainer(
        max_epochs=10,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(model, batches)
    with torch.no_grad():
        embeddings = model.eval()(images[test])
    before, after = (retrieval(rows.numpy(), digits[test]) for rows in (images[test], embeddings))
    print(f"MAP@R on unseen images: {before.map_at_r:.3f} as pixels, {after.map_at_r:.3f} as embeddings")


if __name__ == "__main__":
    main()
