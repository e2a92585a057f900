"""Ray beside one process: is every row there once when a node dies, and what does Ray cost?

    python benchmarks/scale.py [--parts embed cost] [--pictures 50000]

Part embed: pictures are embedded on three nodes of one core each, and one node is killed in the middle.
Part cost: the processor time of a command in one process and on Ray on the same cores, from the first
import to the last process that has ended. What each needs for 512 pictures is start-up, and is taken off.

Ray runs in its own network namespace, as in the tests. For processor time, run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep, timed

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.ray_jobs import draw_noise, run_isolated

ROOT = Path(__file__).resolve().parents[1]
NODES = 3
START_UP = 512  # pictures: two batches, since one alone is never sent to Ray
SIDE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pictures", type=int, default=50_000, help="of part embed (default: 50000)")
    parser.add_argument("--costly", type=int, default=4_096, help="pictures of part cost (default: 4096)")
    parser.add_argument("--used", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.used:
        print(json.dumps(_used(chosen.used)))
        return
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for part in chosen.parts:
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[part](Path(folder), chosen)
        rows.append({"part": part, **found})
        summary |= {f"{part}: {name}": value for name, value in found.items()}
        print(part, found, flush=True)
    arguments = sys.argv[1:]
    keep("scale", str(__doc__), rows=rows, summary=summary, arguments=arguments)


def embed(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Every row once, though a node dies."""
    import pyarrow.parquet as parquet

    pictures, model = draw_noise(folder / "pictures", chosen.pictures, size=SIDE), folder / "model"
    _save(pictures, model, width=32)
    script = [ROOT / "tests/support/ray_cluster.py", NODES, folder / "record.json"]
    words = ["embed", model, pictures, "--out", folder / "there.parquet"]
    run_isolated([*script, *words], cwd=folder, timeout=3600)
    record = json.loads((folder / "record.json").read_text())
    items = parquet.read_table(folder / "there.parquet", columns=["item"])["item"].to_pylist()
    return {
        "pictures": chosen.pictures,
        "nodes": NODES,
        "exit code": record["code"],
        "killed in the middle": record["in_the_middle"],
        "processes killed": record["processes"],
        "killed after (s)": round(record["killed_at"], 1),
        "took (s)": round(record["seconds"], 1),
        "rows": len(items),
        "different items": len(set(items)),
    }


def cost(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Processor and wall seconds of one process and of Ray, start-up apart."""
    few, many = folder / "few", folder / "many"
    draw_noise(few, START_UP, size=SIDE)
    draw_noise(many, chosen.costly, size=SIDE)
    _save(few, folder / "model", width=160)  # 11 ms a picture
    used: dict[tuple[str, Path], dict[str, float]] = {}
    for where in ("here", "ray"):
        for pictures in (few, many):
            words = [
                "embed",
                folder / "model",
                pictures,
                "--out",
                folder / f"{where}-{pictures.name}.parquet",
            ]
            words += [] if where == "here" else ["--on", "ray"]
            out, _ = run_isolated([__file__, "--used", *words], cwd=folder, timeout=3600)
            used[where, pictures] = json.loads(out.splitlines()[-1])
    more = chosen.costly - START_UP
    processor = {w: used[w, many]["processor"] - used[w, few]["processor"] for w in ("here", "ray")}
    wall = {w: used[w, many]["seconds"] - used[w, few]["seconds"] for w in ("here", "ray")}
    return {
        "pictures": more,
        "cores": os.cpu_count(),
        "load of the machine at the end": round(os.getloadavg()[0], 1),
        "one process: processor ms a picture": round(1000 * processor["here"] / more, 2),
        "Ray: processor ms a picture": round(1000 * processor["ray"] / more, 2),
        "Ray / one process, processor": round(processor["ray"] / processor["here"], 3),
        "Ray / one process, wall": round(wall["ray"] / wall["here"], 3),
        "start-up and 512 pictures, one process (s)": round(used["here", few]["seconds"], 1),
        "start-up and 512 pictures, Ray (s)": round(used["ray", few]["seconds"], 1),
        "start-up and 512 pictures, one process (processor s)": round(used["here", few]["processor"], 1),
        "start-up and 512 pictures, Ray (processor s)": round(used["ray", few]["processor"], 1),
    }


def _used(words: list[str]) -> dict[str, float]:
    """Runs trine as the first process of a namespace, which inherits whatever Ray leaves behind."""
    with timed() as took:
        subprocess.run([sys.executable, "-m", "trine", *words], check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.1)
        except ChildProcessError:
            break
    total = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": took.seconds, "processor": total.ru_utime + total.ru_stime}


def _save(pictures: Path, model: Path, *, width: int) -> None:
    """Saves an untrained network of a size."""
    from trine.data import load
    from trine.encoders import EncoderRecipe, SmallResNetSettings, build_encoder, save

    data, _ = load(str(pictures))
    recipe = EncoderRecipe(small_resnet=SmallResNetSettings(width=width))
    save(build_encoder(data.items, recipe=recipe), model)


PARTS = {"embed": embed, "cost": cost}

if __name__ == "__main__":
    main()
