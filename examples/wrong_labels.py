"""Find wrong labels: 3 % of the labels of digits are changed, and looked for among neighbours.

Half of the items are embedded by an encoder that learned from the other half, as training hides wrong labels.

    python examples/wrong_labels.py
"""

import numpy as np
from sklearn.datasets import load_digits

from trine.data import load
from trine.evaluation import find_label_errors
from trine.training import fit, load_recipe

pixels, digits = load_digits(return_X_y=True)
random = np.random.default_rng(0)
given = digits.copy()
wrong = random.permutation(len(given))[: len(given) * 3 // 100]
given[wrong] = (given[wrong] + random.integers(1, 10, len(wrong))) % 10
data, _ = load((pixels.astype(np.float32), given))

halves = np.array_split(random.permutation(len(given)), 2)
recipe = load_recipe(overrides={"training.steps": 60, "seed": 0})
suspects = []
for audited, other in (halves, halves[::-1]):
    encoder = fit(data.subset(other), recipe, out=None, progress=False)
    part = data.subset(audited)
    names = [f"item {item}" for item in audited]
    errors = find_label_errors(encoder.embed(part), part.labels, names=names)
    suspects += [(suspect.score, audited[suspect.row], suspect) for suspect in errors.suspects(len(wrong))]

suspects.sort(key=lambda found: -found[0])
for _, _, suspect in suspects[:5]:
    print(suspect)
first = [item for _, item, _ in suspects[: len(wrong)]]
found = len(set(first) & set(wrong.tolist()))
print(f"of the first {len(first)} suspects {found} are wrong; {len(wrong)} labels were changed")
