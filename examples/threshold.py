"""Choose a threshold for a false-accept rate, and see whether it holds for other people.

The "people" are random: a direction for each, and items around it. With your own encoder, `embeddings` are
those of people that it was not trained on.

    python examples/threshold.py
"""

import numpy as np

from trine.evaluation import calibrate, verification

random = np.random.default_rng(0)
people, each, width = 300, 5, 64
labels = np.repeat(np.arange(people), each)
embeddings = random.normal(size=(people, width))[labels] + 0.9 * random.normal(size=(people * each, width))
embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
chosen_on, others = labels < 150, labels >= 150

measured = verification(embeddings[others], labels[others])
for far in (0.1, 0.05, 0.01):
    found = calibrate(embeddings[chosen_on], labels[chosen_on], far=far, too_few="smallest")
    accepted, impostors = measured.tar_at(found.threshold), measured.far_at(found.threshold)
    print(f"asked for {far:.0%}: threshold {found.threshold:.3f}, {found.promise}")
    print(f"  on other people: accepts {impostors:.2%} of impostor pairs, {accepted:.1%} of genuine pairs")
