"""Processes forked from a server that has done all imports, so that a test can start and kill many."""

from __future__ import annotations

import os
import sys
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from unittest.mock import patch

PRELOADED = ["support.training_kills", "support.gallery_workloads", "torch._dynamo"]
"""What the processes of tests need, and what torch's optimizers import at their first step."""


def processes() -> ForkServerContext:
    """Returns the context of the one server for all tests, which has imported what any of them needs."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Python 3.11 does not pass sys.path to the server.
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path)):
        forkserver.ensure_running()
    return context
