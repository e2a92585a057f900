"""`trine evaluate`: the metrics of a trained encoder on data, or of several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.cli.arguments import DATA, ON, check_on, computing_on, echo, is_labelled, load_data, pick
from trine.cli.parser import argument, verb
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.pipelines import TrainedRun

PART = "all, train, validation, test, or auto for the unseen part of the run's own data (default: auto)"


@verb(
    argument("runs", metavar="run", nargs="+", help="a run or model folder; several are compared"),
    *DATA,
    argument("--part", default="auto", help=f"which items: {PART}"),
    argument("--far", type=float, default=0.01, help="another false-accept rate to report (default: 0.01)"),
    argument("--out", help="the folder for metrics.json and report.html"),
    argument("--pairs", help="pairs to evaluate as well: a .csv of a, b, same, fold, or LFW's pairs.txt"),
    argument("--triplets", help="a table of triplet judgements to evaluate: anchor, positive and negative"),
    argument("--calibrate", action="store_true", help="save the threshold for --far in the model"),
    argument(
        "--too-few",
        default="raise",
        help="raise (the default) or smallest: the smallest rate there are identities for",
    ),
    argument("--probability", help="with --calibrate: also fit probabilities, by isotonic or platt"),
    argument("--prior", type=float, help="the share of genuine pairs it assumes (default: as in the data)"),
    ON,
)
def evaluate(settings: Any) -> None:
    """Evaluate a trained encoder: on the unseen part of its own data, or on other data.

    trine evaluate runs/faces photos/ --far 0.001
    trine evaluate runs/faces others/ --far 0.001 --calibrate
    trine evaluate runs/faces lfw/ --pairs pairs.txt
    trine evaluate runs/faces runs/harder photos/
    trine evaluate runs/shoes shoes/ --triplets judged.csv
    """
    from trine.pipelines import open_trained_run

    check_on(settings)
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
        raise SettingError("--calibrate takes exactly one run, whose model stores the threshold")
    if settings.triplets is not None:
        raise SettingError("--triplets takes exactly one run")
    data = load_data(settings)
    with computing_on(settings, *(run.encoder for run in runs)):
        report = compare_runs(runs, data, **pick(settings, "part", "far", "out", "pairs"))
    echo(report, "", f"{report.folder} holds metrics.json and report.html")


def _evaluate_judgements(settings: Any, run: TrainedRun) -> None:
    from trine.data import read_triplets
    from trine.pipelines import evaluate_on_judgements

    for name in ("pairs", "calibrate", "probability", "prior"):
        if getattr(settings, name):
            raise SettingError(
                f"--{name} needs identities, and {settings.data} has none; leave it out, or name the column "
                "that contains them with --label"
            )
    triplets, data = read_triplets(settings.triplets), load_data(settings, labelled=False)
    with computing_on(settings, run.encoder):
        report = evaluate_on_judgements(run, data, triplets, part=settings.part, out=settings.out)
    echo(report, "", f"{report.folder} holds metrics.json, report.html and picture.png")


def _evaluate(settings: Any, run: TrainedRun) -> None:
    from trine.data import read_triplets
    from trine.pipelines import evaluate_run

    data = load_data(settings)
    with computing_on(settings, run.encoder):
        report = evaluate_run(
            run,
            data,
            store_threshold=settings.calibrate,
            triplets=None if settings.triplets is None else read_triplets(settings.triplets),
            **pick(settings, "part", "far", "out", "too_few", "probability", "prior", "pairs"),
        )
    echo(report, "", f"{report.folder} holds metrics.json, report.html and picture.png")
