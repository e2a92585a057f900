"""Fill a gallery and ask it who is who.

The digit 9 is not enrolled, and should be rejected as unknown.

    python examples/gallery.py
"""

import tempfile
from pathlib import Path

from trine import Gallery
from trine.data import load, split
from trine.training import fit, load_recipe

data, report = load("digits")
print(report)
parts = split(data, method="stratified", test=0.3, seed=0)
train, unseen = data.subset(parts.train), data.subset(parts.test)
recipe = load_recipe(overrides={"training.steps": 25, "seed": 0})
encoder = fit(train, recipe, out=None, progress=False)

folder = tempfile.TemporaryDirectory()
# The threshold is chosen by hand; with a calibrated encoder the gallery finds its own.
with folder, Gallery.open(Path(folder.name) / "digits.db", encoder=encoder, threshold=0.4) as gallery:
    known = [at for at in range(len(train)) if train.identity(at) != "9"]
    gallery.enrol_dataset(train.subset(known))
    print(f"a gallery of {len(gallery):,} images of the digits 0 to 8")

    answers = list(gallery.identify_many(unseen.items))
    truth = [unseen.identity(at) for at in range(len(unseen))]
    for answer, digit in zip(answers[:3], truth, strict=False):
        print(f"a {digit}: {answer}")
    right = [a.identity == t for a, t in zip(answers, truth, strict=True) if t != "9"]
    rejected = [a.identity is None for a, t in zip(answers, truth, strict=True) if t == "9"]
    print(f"identified: {sum(right)} of {len(right)}, rejected: {sum(rejected)} of {len(rejected)} nines")
