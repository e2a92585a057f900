"""The verbs, in the order in which `trine --help` lists them."""

from __future__ import annotations

from trine.cli.audit import AUDIT
from trine.cli.cluster import CLUSTER
from trine.cli.demo import DEMO
from trine.cli.doctor import DOCTOR
from trine.cli.embed import EMBED
from trine.cli.enrol import ENROL
from trine.cli.evaluate import EVALUATE
from trine.cli.gallery import GALLERY_VERBS
from trine.cli.mine import MINE
from trine.cli.parser import Group
from trine.cli.query import QUERY_VERBS
from trine.cli.recipe import RECIPE
from trine.cli.recommend import RECOMMEND
from trine.cli.train import TRAIN

TRINE = Group(
    "Metric learning with the triplet loss: from labelled examples to an encoder, a gallery and an answer.",
    "trine demo\n"
    "trine train photos/ --out runs/faces\n"
    "trine evaluate runs/faces photos/\n"
    "trine enrol runs/faces known/ --gallery people\n"
    "trine identify photo.jpg --gallery people",
    {
        "demo": DEMO,
        "train": TRAIN,
        "recipe": RECIPE,
        "doctor": DOCTOR,
        "evaluate": EVALUATE,
        "audit": AUDIT,
        "mine": MINE,
        "embed": EMBED,
        "enrol": ENROL,
        **QUERY_VERBS,
        "recommend": RECOMMEND,
        "cluster": CLUSTER,
        "gallery": Group(
            "Manage a gallery: create, list, edit, check, repair, export, copy and rebuild it.",
            "trine gallery stats people\n"
            "trine gallery forget people ann\n"
            "trine gallery copy people postgresql://host/database\n"
            "trine gallery forget --help",
            GALLERY_VERBS,
        ),
    },
)
