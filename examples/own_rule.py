"""Train with a mining rule of your own: the nearest positive and the second nearest negative.

`Triplets` take the place of labels in `triplet_loss`, so a rule is any function that returns them.

    python examples/own_rule.py
"""

import torch
from sklearn.datasets import load_digits

from trine import Triplets, pairwise_distances, triplet_loss
from trine.data import PKSampler
from trine.evaluation import retrieval


def second_hardest(embeddings: torch.Tensor, labels: torch.Tensor) -> Triplets:
    distances = pairwise_distances(embeddings.detach())
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool)
    positive = distances.masked_fill(~same | itself, torch.inf).argmin(1)
    negative = distances.masked_fill(same, torch.inf).argsort(1)[:, 1]
    return Triplets(torch.arange(len(labels)), positive, negative)


torch.manual_seed(0)
pixels, digits = load_digits(return_X_y=True)
images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
network = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
sampler = PKSampler(digits[:1200], identities=10, items=8, seed=0)
for _ in range(10):
    for batch in sampler:
        rows = torch.as_tensor(batch)
        embeddings = torch.nn.functional.normalize(network(images[rows]))
        loss = triplet_loss(embeddings, second_hardest(embeddings, labels[rows]), margin=0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    embeddings = torch.nn.functional.normalize(network(images[1200:]))
before, after = (retrieval(rows.numpy(), digits[1200:]) for rows in (images[1200:], embeddings))
print(f"MAP@R on unseen images: {before.map_at_r:.3f} as pixels, {after.map_at_r:.3f} as embeddings")
