"""The verbs, in the order in which `trine --help` lists them."""

from __future__ import annotations

from trine.cli import cluster, gallery, keys, query, transfer
from trine.cli.audit import audit
from trine.cli.demo import demo
from trine.cli.doctor import doctor
from trine.cli.embed import embed
from trine.cli.enrol import enrol
from trine.cli.evaluate import evaluate
from trine.cli.export import export
from trine.cli.faces import faces
from trine.cli.mine import mine
from trine.cli.parser import Group, Verb
from trine.cli.recipe import recipe
from trine.cli.recommend import recommend
from trine.cli.serve import serve
from trine.cli.train import train


def _by_name(*verbs: Verb | Group) -> dict[str, Verb | Group]:
    return {each.name: each for each in verbs}


GALLERY = Group(
    "gallery",
    "Manage a gallery: create, list, edit, check, repair, export, copy and rebuild it.",
    "trine gallery stats people\n"
    "trine gallery forget people ann\n"
    "trine gallery copy people postgresql://host/database\n"
    "trine gallery copy people lance:///shared/people\n"
    "trine gallery forget --help",
    _by_name(
        *(
            gallery.create,
            gallery.list_,
            gallery.stats,
            gallery.calibrate,
            gallery.remove,
            gallery.forget,
            gallery.rename,
        ),
        *(gallery.merge, gallery.split, cluster.clusters, gallery.check, gallery.repair),
        *(
            transfer.export,
            transfer.import_,
            transfer.copy,
            transfer.compare,
            transfer.rebuild,
            transfer.backup,
            transfer.restore,
        ),
    ),
)

KEYS = Group(
    "keys",
    "Manage the keys of a service: make, list and revoke them.",
    "trine keys add alice --gallery people\n"
    "trine keys add desk --scope write pictures --gallery people\n"
    "trine keys list --gallery people\n"
    "trine keys revoke alice --gallery people",
    _by_name(keys.add, keys.list_, keys.revoke),
)

TRINE = Group(
    "trine",
    "Metric learning with the triplet loss: from labelled examples to an encoder, a gallery and an answer.",
    "trine demo\n"
    "trine train photos/ --out runs/faces\n"
    "trine evaluate runs/faces photos/\n"
    "trine enrol runs/faces known/ --gallery people\n"
    "trine identify photo.jpg --gallery people",
    _by_name(
        *(demo, faces, train, recipe, doctor, evaluate, audit, mine, embed, export),
        *(
            enrol,
            query.verify,
            query.identify,
            query.search,
            recommend,
            cluster.cluster,
            GALLERY,
            serve,
            KEYS,
        ),
    ),
    "extras: most verbs need pip install 'trine[train]', and each says in its --help what it needs; besides\n"
    "  images: HEIC photos, networks of timm      pretrained: weights for things\n"
    "  text: texts                                faces: photos of faces\n"
    "  onnx: export                               serve: serve\n"
    "  ray: --on                                  lancedb, pgvector: galleries that machines share\n"
    "  gallery, fast: large galleries, batches    all: everything\n\n"
    "exit codes: 0 done; 1 gallery check found problems; 2 error; 130 Ctrl-C; 141 closed pipe; 143 SIGTERM",
)
