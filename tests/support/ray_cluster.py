"""Nodes of Ray in one network, and a command that works on them while one is killed.

    python tests/support/ray_cluster.py NODES RECORD COMMAND ...

Runs `trine COMMAND --on ray://...`; once work runs on the last node, it kills that node's raylet and all its
workers, and writes to RECORD as JSON whether that was in the middle. Started in a network of its own by
`support.ray_jobs.run_isolated`.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

PORT, CLIENTS = 6379, 10001


def start(*words):
    """Starts a node with one core."""
    command = [Path(sys.executable).with_name("ray"), "start", "--num-cpus=1", "--disable-usage-stats"]
    subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)


def start_nodes(nodes):
    """Starts a head and further nodes, which share a token; returns the raylets of the further ones."""
    import psutil

    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    head = ["--head", "--include-dashboard=false", f"--port={PORT}", f"--ray-client-server-port={CLIENTS}"]
    start(*head, "--node-ip-address=127.0.0.1")
    known = raylets(psutil)
    found = []
    for _ in range(nodes - 1):
        start(f"--address=127.0.0.1:{PORT}", "--node-ip-address=127.0.0.1")
        (new,) = raylets(psutil) - known
        known.add(new)
        found.append(new)
    return found


def raylets(psutil):
    return {each for each in psutil.process_iter() if each.name() == "raylet"}


def working(raylet):
    """Whether one of the workers of a node is embedding."""
    import psutil

    try:
        titles = [" ".join(each.cmdline()) for each in raylet.children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    return any(title.startswith("ray::MapWorker") for title in titles)


def kill(raylet):
    """Ends a node as when its machine dies: the raylet and all that it started."""
    lost = [raylet, *raylet.children(recursive=True)]
    for process in lost:
        process.kill()
    return len(lost)


def run_and_kill(nodes, words, *, after=2.0):
    """Runs trine, and kills a node in the middle; returns what happened."""
    victim = start_nodes(nodes)[-1]
    began = time.monotonic()
    command = [sys.executable, "-m", "trine", *words, "--on", f"ray://127.0.0.1:{CLIENTS}"]
    with subprocess.Popen(command) as job:
        while job.poll() is None and not working(victim):
            time.sleep(0.1)
        time.sleep(after)
        in_the_middle = job.poll() is None
        processes = kill(victim)
        killed_at = time.monotonic() - began
    return {
        "code": job.returncode,
        "in_the_middle": in_the_middle,
        "processes": processes,
        "killed_at": killed_at,
        "seconds": time.monotonic() - began,
    }


if __name__ == "__main__":
    nodes, record, *words = sys.argv[1:]
    Path(record).write_text(json.dumps(run_and_kill(int(nodes), words)))
