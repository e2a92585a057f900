"""The verbs: what each takes, and what it does."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import data_arguments, data_words, echo, loaded
from trine.cli.audit import audit_arguments, audited
from trine.cli.cluster import CLUSTER
from trine.cli.enrol import ENROL
from trine.cli.gallery import SUBVERBS
from trine.cli.mining import mining_arguments, mining_of
from trine.cli.parser import Group, Verb
from trine.cli.query import QUESTIONS
from trine.cli.recommend import RECOMMEND
from trine.cli.train import RECIPE, TRAIN, by_identity
from trine.errors import SettingError


def _demo_arguments(parser: Any) -> None:
    parser.add_argument(
        "--out", type=str, default="runs/demo", help="the run folder; the next free number is added"
    )


def _demo(settings: Any) -> None:
    from trine.demo import demo

    demo(settings.out, say=echo)


def _doctor_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder")


def _doctor(settings: Any) -> None:
    from trine.pipelines import examine

    found = examine(settings.run)
    echo(f"{found}\n\n{found.folder} holds the curves: doctor.png")


def _evaluate_arguments(parser: Any) -> None:
    parser.add_argument(
        "runs", type=str, nargs="+", help="the run folder, or a model folder; several are compared"
    )
    data_arguments(parser)
    parser.add_argument(
        "--part", type=str, default="auto", help="which items: auto, all, train, validation or test"
    )
    parser.add_argument(
        "--far", type=float, default=0.01, help="the false-accept rate to look at beside 1 %%"
    )
    parser.add_argument("--out", type=str, default=None, help="where to write metrics.json and report.html")
    parser.add_argument(
        "--pairs",
        type=str,
        default=None,
        help="a list of pairs to measure, too: a .csv of a, b, same and fold, or pairs.txt as that of LFW",
    )
    parser.add_argument(
        "--triplets",
        type=str,
        default=None,
        help="a table of people's judgements to count: anchor, positive and negative",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="choose the threshold for --far on these items, and keep it in the model",
    )
    parser.add_argument(
        "--provisional",
        action="store_true",
        help="calibrate also where the items are too few to promise the rate",
    )
    parser.add_argument(
        "--probability",
        type=str,
        default=None,
        help="with --calibrate, also from a distance to a probability: isotonic or platt",
    )
    parser.add_argument(
        "--prior",
        type=float,
        default=None,
        help="the share of genuine pairs that this probability assumes; else that of the items",
    )


def _evaluate(settings: Any) -> None:
    from trine import load
    from trine.data import read_triplets
    from trine.pipelines import compare_runs, evaluate_judged, evaluate_run

    for run in settings.runs:
        load(run)  # A missing model is said before any data is read.
    if len(settings.runs) > 1:
        if settings.calibrate or settings.probability is not None:
            raise SettingError("--calibrate keeps a threshold in one model: name one run, not several")
        if settings.triplets is not None:
            raise SettingError("--triplets counts the judgements that one run agrees with: name one run")
        compared = compare_runs(
            settings.runs,
            loaded(settings),
            part=settings.part,
            far=settings.far,
            out=settings.out,
            pairs=settings.pairs,
        )
        echo(f"{compared}\n\n{compared.folder} holds metrics.json and report.html")
        return
    triplets = None if settings.triplets is None else read_triplets(settings.triplets)
    if triplets is not None and not by_identity(settings):
        _check_no_identities(settings)
        data = loaded(settings, labelled=False)
        found = evaluate_judged(settings.runs[0], data, triplets, part=settings.part, out=settings.out)
        echo(f"{found}\n\n{found.folder} holds metrics.json, report.html and picture.png")
        return
    report = evaluate_run(
        settings.runs[0],
        loaded(settings),
        part=settings.part,
        far=settings.far,
        out=settings.out,
        store_threshold=settings.calibrate,
        support="provisional" if settings.provisional else "required",
        probability=settings.probability,
        prior=settings.prior,
        pairs=settings.pairs,
        triplets=triplets,
    )
    echo(f"{report}\n\n{report.folder} holds metrics.json, report.html and picture.png")


def _check_no_identities(settings: Any) -> None:
    asked = [
        f"--{name}" for name in ("pairs", "calibrate", "probability", "prior") if getattr(settings, name)
    ]
    if asked:
        raise SettingError(
            f"{asked[0]} needs identities, and {settings.data} has none: leave it out, or name --label"
        )


def _mine_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    data_arguments(parser)
    mining_arguments(parser)


def _mine(settings: Any) -> None:
    from trine import load
    from trine.pipelines import mine_run

    load(settings.run)  # A missing model is said before any data is read.
    how = mining_of(settings)
    report = mine_run(settings.run, loaded(settings), out=settings.out, how=how, part=settings.part)
    named = data_words(settings)
    echo(f"{report}\nlearn from them with: trine train {named} --triplets {settings.out} --out RUN")


def _audit_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    data_arguments(parser)
    audit_arguments(parser)


def _audit(settings: Any) -> None:
    audited(settings, loaded, echo)


def _embed_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    data_arguments(parser)
    parser.add_argument("--out", type=str, required=True, help="the .parquet file to write")


def _embed(settings: Any) -> None:
    from trine import load
    from trine.pipelines import write_embeddings

    encoder, data = load(settings.run), loaded(settings)
    write_embeddings(encoder, data, out=settings.out)
    echo(f"{settings.out} holds {len(data):,} embeddings of {encoder.settings.dimension} numbers")


VERBS: dict[str, Verb | Group] = {
    "demo": Verb(
        _demo,
        _demo_arguments,
        "The whole way on handwritten digits: train, evaluate, enrol, identify, verify.",
        "trine demo",
    ),
    "train": TRAIN,
    "recipe": RECIPE,
    "doctor": Verb(
        _doctor,
        _doctor_arguments,
        "Say what is wrong with a run, going on or ended, and draw its curves.",
        "trine doctor runs/faces",
    ),
    "evaluate": Verb(
        _evaluate,
        _evaluate_arguments,
        "Measure a trained encoder on data; on what it has not seen, where the data is its own.",
        "trine evaluate runs/faces photos/ --far 0.001\n"
        "trine evaluate runs/faces others/ --far 0.001 --calibrate\n"
        "trine evaluate runs/faces lfw/ --pairs pairs.txt\n"
        "trine evaluate runs/faces runs/harder photos/\n"
        "trine evaluate runs/shoes shoes/ --triplets judged.csv",
    ),
    "audit": Verb(
        _audit,
        _audit_arguments,
        "List the items that probably carry a wrong label.",
        "trine audit runs/faces photos/ --out suspects.csv --page suspects.html",
    ),
    "mine": Verb(
        _mine,
        _mine_arguments,
        "Write hard triplets of labelled data as a table to train on.",
        "trine mine runs/faces photos/ --out triplets.parquet\n"
        "trine mine runs/faces photos/ --out triplets.csv --rule hard --skip 3 --relative-margin 0.05\n"
        "trine train photos/ --triplets triplets.parquet --out runs/harder",
    ),
    "embed": Verb(
        _embed,
        _embed_arguments,
        "Write the embedding of every item as a Parquet table.",
        "trine embed runs/faces photos/ --out embeddings.parquet",
    ),
    "enrol": ENROL,
    **QUESTIONS,
    "recommend": RECOMMEND,
    "cluster": CLUSTER,
    "gallery": Group(
        "Everything else about a gallery: make, list, arrange, mend, move and rebuild it.",
        "trine gallery stats people\n"
        "trine gallery forget people ann\n"
        "trine gallery copy people postgresql://host/database\n"
        "trine gallery forget --help",
        SUBVERBS,
    ),
}
