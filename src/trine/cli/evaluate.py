"""`trine evaluate`: what a trained encoder reaches on data, or several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.cli.arguments import RUN, data_arguments, echo, is_labelled, load_data
from trine.cli.parser import Verb
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.pipelines import TrainedRun


def _arguments(parser: Any) -> None:
    parser.add_argument("runs", metavar="run", nargs="+", help=f"{RUN}; several are compared")
    data_arguments(parser)
    add = parser.add_argument
    add(
        "--part",
        default="auto",
        help="which items: all, train, validation, test, or auto for the test part of the run's own data "
        "and all of any other (default: auto)",
    )
    add(
        "--far",
        type=float,
        default=0.01,
        help="an additional false-accept rate to report (default: 0.01)",
    )
    add("--out", help="the folder for metrics.json and report.html")
    add(
        "--pairs",
        help="a list of pairs to evaluate as well: a .csv file with the columns a, b, same and fold, or a "
        "pairs.txt in the format of LFW",
    )
    add(
        "--triplets",
        help="a table of triplet judgements to evaluate: anchor, positive and negative",
    )
    add(
        "--calibrate",
        action="store_true",
        help="choose the threshold for --far on these items, and save it in the model",
    )
    add(
        "--provisional",
        action="store_true",
        help="calibrate even if there are too few items to guarantee the rate",
    )
    add(
        "--probability",
        help="with --calibrate: also fit a curve from distance to probability: isotonic or platt",
    )
    add(
        "--prior",
        type=float,
        help="the share of genuine pairs this probability assumes (default: the share in the data)",
    )


def _run(settings: Any) -> None:
    from trine.pipelines import open_trained_run

    runs = [open_trained_run(run) for run in settings.runs]  # Report a missing model before reading the data.
    if len(runs) > 1:
        _compare(settings, runs)
    elif settings.triplets is not None and not is_labelled(settings):
        _evaluate_judgements(settings, runs[0])
    else:
        _evaluate(settings, runs[0])


def _compare(settings: Any, runs: list[TrainedRun]) -> None:
    from trine.pipelines import compare_runs

    if settings.calibrate or settings.probability is not None:
        raise SettingError("--calibrate saves a threshold in one model: name a single run")
    if settings.triplets is not None:
        raise SettingError("--triplets evaluates one run: name a single run")
    data = load_data(settings)
    report = compare_runs(
        runs, data, part=settings.part, far=settings.far, out=settings.out, pairs=settings.pairs
    )
    echo(f"{report}\n\n{report.folder} holds metrics.json and report.html")


def _evaluate_judgements(settings: Any, run: TrainedRun) -> None:
    from trine.data import read_triplets
    from trine.pipelines import evaluate_judged

    for name in ("pairs", "calibrate", "probability", "prior"):
        if getattr(settings, name):
            raise SettingError(
                f"--{name} needs identities, and {settings.data} has none: leave it out, or name the column "
                "that holds them with --label"
            )
    triplets, data = read_triplets(settings.triplets), load_data(settings, labelled=False)
    report = evaluate_judged(run, data, triplets, part=settings.part, out=settings.out)
    echo(f"{report}\n\n{report.folder} holds metrics.json, report.html and picture.png")


def _evaluate(settings: Any, run: TrainedRun) -> None:
    from trine.data import read_triplets
    from trine.pipelines import evaluate_run

    triplets = None if settings.triplets is None else read_triplets(settings.triplets)
    report = evaluate_run(
        run,
        load_data(settings),
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


EVALUATE = Verb(
    _run,
    _arguments,
    "Evaluate a trained encoder: on the unseen part of its own data, or on other data.",
    "trine evaluate runs/faces photos/ --far 0.001\n"
    "trine evaluate runs/faces others/ --far 0.001 --calibrate\n"
    "trine evaluate runs/faces lfw/ --pairs pairs.txt\n"
    "trine evaluate runs/faces runs/harder photos/\n"
    "trine evaluate runs/shoes shoes/ --triplets judged.csv",
)
