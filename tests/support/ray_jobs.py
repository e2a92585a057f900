"""Runs jobs with Ray in a network of their own: Ray listens on every interface of the machine it runs on."""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

ISOLATED = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc")
"""A network and processes of their own: what a job leaves behind ends with it."""


@functools.cache
def why_not():
    """Why no job can run here; "" if one can."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed"
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "unshare or ip is not installed"
    made = subprocess.run([*ISOLATED, "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    return f"no network of its own may be made here: {made.stderr.strip()}" if made.returncode else ""


def needs_ray():
    if why_not():
        pytest.skip(why_not())


def start_isolated(words, *, cwd, **environment):
    """Starts Python with these words in a network of its own, with two cores' worth of Ray."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Threads change how sums are split, and a worker has one.
    clean |= {"OMP_NUM_THREADS": "1", "HOME": str(cwd)} | environment
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable]
    return subprocess.Popen(
        [*ISOLATED, *inside, *map(str, words)],
        cwd=cwd,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_isolated(words, *, cwd, code=0, timeout=240, **environment):
    """Runs Python to its end, which must have an exit code; returns what it printed, and its errors."""
    with start_isolated(words, cwd=cwd, **environment) as job:
        try:
            out, errors = job.communicate(timeout=timeout)
        except BaseException:
            job.kill()
            raise
    assert job.returncode == code, f"exit code {job.returncode}\n{out}\n{errors}"
    return out, errors


def draw_noise(root, count, *, size=16, identities=6):
    """Draws pictures of noise, in folders of their identities."""
    pictures = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    for identity in range(identities):
        (root / f"noise{identity}").mkdir(parents=True)
    for number in range(count):
        image = pictures.fromarray(pixels[number])
        image.save(root / f"noise{number % identities}" / f"{number}.png", compress_level=1)
    return root


def untrained_model(pictures, folder):
    """Saves an untrained network for pictures."""
    from trine.data import load
    from trine.encoders import EncoderRecipe, build_encoder, save

    data, _ = load(str(pictures))
    save(build_encoder(data.items, recipe=EncoderRecipe()), folder)
    return folder
