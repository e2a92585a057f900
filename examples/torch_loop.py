"""Use the triplet loss in your own training loop.

Trains a small network on scikit-learn's digits so that images of one digit lie close together, then measures
how often the nearest neighbour of an unseen image shows the same digit.

    python examples/torch_loop.py
"""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from trine import TripletLoss
from trine.data import PKSampler
from trine.evaluation import retrieval

torch.manual_seed(0)
pixels, digits = load_digits(return_X_y=True)
images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
train, test = torch.arange(0, 1200), torch.arange(1200, len(labels))

# Each batch has 10 digits with 8 images of each, so every image meets positives and negatives.
sampler = PKSampler(digits[train], identities=10, items=8, seed=0)
batches = DataLoader(TensorDataset(images[train], labels[train]), batch_sampler=sampler)

network = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16))
loss = TripletLoss(margin=0.2, mining="semihard")
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

for epoch in range(10):
    for batch, batch_labels in batches:
        optimizer.zero_grad()
        value = loss(torch.nn.functional.normalize(network(batch)), batch_labels)
        value.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss of the last batch {value:.3f}")

with torch.no_grad():
    embeddings = torch.nn.functional.normalize(network(images[test]))
before, after = (retrieval(rows.numpy(), digits[test]) for rows in (images[test], embeddings))
print(f"MAP@R on unseen images: {before.map_at_r:.3f} as pixels, {after.map_at_r:.3f} as embeddings")
