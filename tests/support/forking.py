"""Processes that start with all imports done, so that many can be started and killed."""

from __future__ import annotations

import os
import sys
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from unittest.mock import patch


def processes() -> ForkServerContext:
    """Where such processes come from: one server for all tests, which imports what any of them needs."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["killed", "workloads"])
    # Python 3.11 does not tell the process that is forked from where modules are.
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path)):
        forkserver.ensure_running()
    return context
