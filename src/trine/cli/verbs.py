"""The verbs: what each takes, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trine.cli.audit import audit_arguments, audited
from trine.cli.mining import mining_arguments, mining_of
from trine.cli.parser import Verb
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.data import Dataset
    from trine.gallery import Gallery

GALLERY = "the gallery (a name, a file, or postgresql://…)"


def _data_arguments(parser: Any) -> None:
    parser.add_argument(
        "data", type=str, help="a folder of folders, a .csv, .parquet or .npz file, or: digits, fashion-mnist"
    )
    parser.add_argument("--label", type=str, default=None, help="the label column of a table")
    parser.add_argument(
        "--path-column", type=str, default=None, help="the column of a table that names the pictures"
    )
    parser.add_argument(
        "--features",
        type=str,
        nargs="+",
        default=None,
        help="the feature columns of a table; all numbers where left out",
    )
    parser.add_argument(
        "--unreadable", type=str, default="error", help="pictures that cannot be read: error or skip"
    )
    parser.add_argument(
        "--duplicates", type=str, default="error", help="files listed twice: error, skip or keep"
    )
    parser.add_argument(
        "--unlabelled", type=str, default="error", help="items without an identity: error or skip"
    )
    parser.add_argument(
        "--singletons", type=str, default="keep", help="identities with one item: error, skip or keep"
    )


def _loaded(settings: Any, say: Callable[[object], None] | None = None) -> Dataset:
    from trine.data import LoadPolicy, load

    policy = LoadPolicy(
        unreadable=settings.unreadable,
        duplicates=settings.duplicates,
        unlabelled=settings.unlabelled,
        singletons=settings.singletons,
    )
    data, report = load(
        settings.data,
        label=settings.label,
        path_column=settings.path_column,
        features=settings.features,
        policy=policy,
    )
    (say or _say)(report)
    return data


def _opened(name: str) -> Gallery:
    """Opens a gallery with the encoder that made it."""
    from trine import Gallery, load
    from trine.errors import GalleryError

    path = _gallery_path(name)
    with Gallery.open(path, create=False) as gallery:
        model, address = gallery.model, gallery.address
    if model is None:
        raise GalleryError(f"the gallery {address} does not say which encoder made it: open it in Python")
    return Gallery.open(path, encoder=load(model), create=False)


def _gallery_path(name: str) -> str:
    return name if name.endswith(".db") or "://" in name else f"{name}.db"


def _say(text: object) -> None:
    print(text)  # noqa: T201


def _say_nothing(text: object) -> None:
    pass


def _demo_arguments(parser: Any) -> None:
    parser.add_argument(
        "--out", type=str, default="runs/demo", help="the run folder; the next free number is added"
    )


def _demo(settings: Any) -> None:
    from trine.demo import demo

    demo(settings.out, say=_say)


def _set_argument(parser: Any) -> None:
    parser.add_argument(
        "--set", type=str, nargs="+", default=[], metavar="KEY=VALUE", help="settings of the recipe to change"
    )


def _train_arguments(parser: Any) -> None:
    _data_arguments(parser)
    parser.add_argument("--out", type=str, required=True, help="the run folder to make")
    parser.add_argument(
        "--recipe", type=str, default=None, help="the name of a recipe, or a YAML file; see trine recipe"
    )
    _set_argument(parser)
    parser.add_argument(
        "--triplets",
        type=str,
        default=None,
        help="a .csv or .parquet table of triplets to learn from; see trine mine",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=None,
        help="how many GPUs, or processes on the CPU, share each step: training.devices of the recipe",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")


def _train(settings: Any) -> None:
    from pathlib import Path

    from trine.data import read_triplets
    from trine.run import train_run
    from trine.training import RunFolder, check_run, load_recipe, world_of

    run, name = RunFolder(Path(settings.out)), settings.recipe
    if settings.resume:
        check_run(run, resume=True)
        name = name or run.recipe
    overrides = _overrides(settings.set)
    if settings.devices is not None:
        overrides["training.devices"] = str(settings.devices)
    recipe = load_recipe(name, overrides=overrides)
    first = world_of(recipe.training).first
    say = _say if first else _say_nothing
    if first:
        check_run(run, resume=settings.resume)
    triplets = None if settings.triplets is None else read_triplets(settings.triplets)
    data = _loaded(settings, say)
    try:
        report = train_run(data, recipe, out=settings.out, triplets=triplets, resume=settings.resume)
    except KeyboardInterrupt:
        if not first:  # the first process tells
            raise SystemExit(0) from None
        words = "" if triplets is None else f" --triplets {settings.triplets}"
        say(f"interrupted; go on with: trine train {settings.data} --out {settings.out}{words} --resume")
        raise
    say(f"\n{report}\n\n{settings.out} holds the model, figures.json, report.html and picture.png")


def _overrides(pairs: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingError(f"--set {pair!r} is no setting: write KEY=VALUE, such as training.epochs=20")
        overrides[key] = value
    return overrides


def _recipe_arguments(parser: Any) -> None:
    parser.add_argument(
        "name", type=str, nargs="?", default="default", help="the name of a recipe, or a YAML file"
    )
    _set_argument(parser)


def _recipe(settings: Any) -> None:
    from trine.training import load_recipe, recipe_names, recipe_text

    recipe = load_recipe(settings.name, overrides=_overrides(settings.set))
    _say(f"# recipes by name: {', '.join(recipe_names())}")
    _say(recipe_text(recipe).rstrip())


def _doctor_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder")


def _doctor(settings: Any) -> None:
    from trine.run import examine

    found = examine(settings.run)
    _say(f"{found}\n\n{found.folder} holds the curves: doctor.png")


def _evaluate_arguments(parser: Any) -> None:
    parser.add_argument(
        "runs", type=str, nargs="+", help="the run folder, or a model folder; several are compared"
    )
    _data_arguments(parser)
    parser.add_argument(
        "--part", type=str, default="auto", help="which items: auto, all, train, validation or test"
    )
    parser.add_argument(
        "--far", type=float, default=0.01, help="the false-accept rate to look at beside 1 %%"
    )
    parser.add_argument("--out", type=str, default=None, help="where to write figures.json and report.html")
    parser.add_argument(
        "--pairs",
        type=str,
        default=None,
        help="a list of pairs to measure, too: a .csv of a, b, same and fold, or pairs.txt as that of LFW",
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


def _evaluate(settings: Any) -> None:
    from trine import load
    from trine.run import compare_runs, evaluate_run

    for run in settings.runs:
        load(run)  # A missing model is said before any data is read.
    if len(settings.runs) > 1:
        if settings.calibrate:
            raise SettingError("--calibrate keeps a threshold in one model: name one run, not several")
        compared = compare_runs(
            settings.runs,
            _loaded(settings),
            part=settings.part,
            far=settings.far,
            out=settings.out,
            pairs=settings.pairs,
        )
        _say(f"{compared}\n\n{compared.folder} holds figures.json and report.html")
        return
    report = evaluate_run(
        settings.runs[0],
        _loaded(settings),
        part=settings.part,
        far=settings.far,
        out=settings.out,
        store_threshold=settings.calibrate,
        support="provisional" if settings.provisional else "required",
        pairs=settings.pairs,
    )
    _say(f"{report}\n\n{report.folder} holds figures.json, report.html and picture.png")


def _mine_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    _data_arguments(parser)
    mining_arguments(parser)


def _mine(settings: Any) -> None:
    from trine import load
    from trine.run import mine_run

    load(settings.run)  # A missing model is said before any data is read.
    how = mining_of(settings)
    report = mine_run(settings.run, _loaded(settings), out=settings.out, how=how, part=settings.part)
    _say(f"{report}\nlearn from them with: trine train {settings.data} --triplets {settings.out} --out RUN")


def _audit_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    _data_arguments(parser)
    audit_arguments(parser)


def _audit(settings: Any) -> None:
    audited(settings, _loaded, _say)


def _embed_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    _data_arguments(parser)
    parser.add_argument("--out", type=str, required=True, help="the .parquet file to write")


def _embed(settings: Any) -> None:
    from trine import load
    from trine.run import write_embeddings

    encoder, data = load(settings.run), _loaded(settings)
    write_embeddings(encoder, data, out=settings.out)
    _say(f"{settings.out} holds {len(data):,} embeddings of {encoder.settings.dimension} numbers")


def _enrol_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    _data_arguments(parser)
    parser.add_argument("--gallery", type=str, required=True, help=f"{GALLERY}; made where it is missing")


def _enrol(settings: Any) -> None:
    from pathlib import Path

    from trine import Gallery, load

    path, encoder = _gallery_path(settings.gallery), load(settings.run)
    data = _loaded(settings)
    with Gallery.open(path, encoder=encoder, model=Path(settings.run).resolve()) as gallery:
        done = gallery.enrol_dataset(data)
        held = f"{len(gallery):,} items of {len(gallery.identities()):,} identities"
        _say(f"{done}\n{gallery.address} holds {held}")


def _verify_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    parser.add_argument("a", type=str, help="a picture")
    parser.add_argument("b", type=str, help="another")
    parser.add_argument(
        "--threshold", type=float, default=None, help="the largest distance that counts as the same"
    )


def _verify(settings: Any) -> None:
    from trine import load
    from trine.gallery import verify

    _say(verify(load(settings.run), settings.a, settings.b, threshold=settings.threshold))


def _identify_arguments(parser: Any) -> None:
    parser.add_argument(
        "pictures", type=str, nargs="+", help="who is this? pictures, or a folder, a table or an .npz file"
    )
    parser.add_argument("--gallery", type=str, required=True, help=f"{GALLERY} of those we know")
    parser.add_argument(
        "--threshold", type=float, default=None, help="the largest distance that counts as the same"
    )


def _identify(settings: Any) -> None:
    with _opened(settings.gallery) as gallery:
        probes = _probes(settings.pictures)
        items = [probes.items[position] for position in range(len(probes))]
        answers = gallery.identify_many(items, threshold=settings.threshold)
    for name, answer in zip(probes.names, answers, strict=True):
        _say(f"{name}: {answer}")


def _probes(words: Sequence[str]) -> Dataset:
    """Pictures by name, or all items of one folder, table or .npz file."""
    from trine.data import LoadPolicy, load_unlabelled

    source = words[0] if len(words) == 1 else list(words)
    data, _ = load_unlabelled(source, policy=LoadPolicy(duplicates="keep"))
    return data


def _search_arguments(parser: Any) -> None:
    parser.add_argument(
        "picture", type=str, help="what to look for: a picture, or a folder, a table or an .npz file"
    )
    parser.add_argument("--gallery", type=str, required=True, help=f"{GALLERY} to look in")
    parser.add_argument("-k", type=int, default=10, help="how many to find")


def _search(settings: Any) -> None:
    with _opened(settings.gallery) as gallery:
        probes = _probes([settings.picture])
        for position, name in enumerate(probes.names):
            if len(probes) > 1:
                _say(f"{name}:")
            for rank, hit in enumerate(gallery.search(probes.items[position], k=settings.k), 1):
                _say(f"{rank:3}. {hit.score:.3f}  {hit.identity}  {hit.item}")


def _cluster_arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    parser.add_argument("pictures", type=str, help="a folder laid out in any way, a table or an .npz file")
    parser.add_argument(
        "--threshold",
        type=float,
        default=None,
        help="the largest distance that links two; the model's where left out",
    )
    parser.add_argument(
        "--unreadable", type=str, default="error", help="pictures that cannot be read: error or skip"
    )
    parser.add_argument("--out", type=str, default=None, help="a .csv file to write: item, cluster")


def _cluster(settings: Any) -> None:
    from trine import load
    from trine.data import LoadPolicy, load_unlabelled
    from trine.run import cluster_items, write_clusters

    encoder = load(settings.run)
    data, report = load_unlabelled(settings.pictures, policy=LoadPolicy(unreadable=settings.unreadable))
    _say(report)
    clusters = cluster_items(encoder, data, threshold=settings.threshold)
    members: dict[int, list[str]] = {}
    for name, number in zip(data.names, clusters.tolist(), strict=True):
        members.setdefault(number, []).append(name)
    _say(f"{len(members):,} clusters")
    shown_at_most = 20
    for number in sorted(members)[:shown_at_most]:
        shown = ", ".join(members[number][:5]) + (", ..." if len(members[number]) > 5 else "")
        _say(f"{number:5}  {len(members[number]):6,} items: {shown}")
    if len(members) > shown_at_most:
        _say(f"       and {len(members) - shown_at_most:,} more")
    if settings.out is not None:
        write_clusters(data, clusters, out=settings.out)
        _say(f"{settings.out} holds them all")


VERBS: dict[str, Verb] = {
    "demo": Verb(
        _demo,
        _demo_arguments,
        "The whole way on handwritten digits: train, evaluate, enrol, identify, verify.",
        "trine demo",
    ),
    "train": Verb(
        _train,
        _train_arguments,
        "Train an encoder on labelled data, calibrate and evaluate it.",
        "trine train photos/ --out runs/faces\n"
        "trine train rows.csv --label family --out runs/rows --set training.epochs=20 seed=3\n"
        "trine train photos/ --out runs/faces --resume",
    ),
    "recipe": Verb(
        _recipe,
        _recipe_arguments,
        "Print every setting of a recipe, to be changed and given to train.",
        "trine recipe > mine.yaml\ntrine recipe facenet --set training.epochs=20",
    ),
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
        "trine evaluate runs/faces runs/harder photos/",
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
    "enrol": Verb(
        _enrol,
        _enrol_arguments,
        "Add labelled pictures to a gallery of those we know.",
        "trine enrol runs/faces known/ --gallery people",
    ),
    "verify": Verb(
        _verify,
        _verify_arguments,
        "Are these two the same?",
        "trine verify runs/faces a.jpg b.jpg",
    ),
    "identify": Verb(
        _identify,
        _identify_arguments,
        "Who is this, or nobody we know?",
        "trine identify photo.jpg --gallery people",
    ),
    "search": Verb(
        _search,
        _search_arguments,
        "Which items of a gallery are most like this one?",
        "trine search photo.jpg --gallery people -k 10",
    ),
    "cluster": Verb(
        _cluster,
        _cluster_arguments,
        "Which of these belong together? The number of clusters is not given.",
        "trine cluster runs/faces unsorted/ --out clusters.csv",
    ),
}
