"""Runs the numeric tests once for each width of SIMD registers: no result may depend on it.

BLAS libraries, torch, numpy and numba choose their kernels by the processor, and sum in another order with
each. This script makes them choose others, with one thread and with two: `make simd`, or for a part of it

    python tests/support/simd.py --only narrow tests/evaluation -k interval
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

KERNELS = {
    "narrow": {
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",  # where MKL_ENABLE_INSTRUCTIONS has no effect, as on AMD
        "NUMBA_CPU_NAME": "generic",
    },
    "avx2, Haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "MKL_CBWR": "AVX2",
    },
    "avx2, Zen": {
        "OPENBLAS_CORETYPE": "Zen",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NUMBA_CPU_NAME": "generic",
    },
    "avx512": {"OPENBLAS_CORETYPE": "SkylakeX", "ATEN_CPU_CAPABILITY": "avx512"},
}
"""The kernels of each run, by environment variable; what is left out is chosen by the processor."""

NEEDS = {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}}
"""The processor flags that a run's kernels need: without them the first instruction would end the process."""

ROOMS = ("engine", "losses", "mining", "neighbours", "evaluation", "estimators")
NUMERIC = (
    *(f"{tree}/{room}" for tree in ("tests", "src/trine") for room in ROOMS),
    *(f"tests/test_{module}.py" for module in ("distances", "ranking", "clustering", "calibration")),
)
"""The tests, and the examples in docstrings, that compare numbers."""


def main() -> int:
    """Runs the tests with each choice of kernels, and says how each run ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=KERNELS, action="append", help="this choice of kernels alone")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="how many threads compute")
    parser.add_argument(
        "tests", nargs="*", default=NUMERIC, help="the tests to run, all numeric ones if left out"
    )
    chosen, options = parser.parse_known_args()
    flags = processor_flags()
    results = {}
    for name, kernels in KERNELS.items():
        if chosen.only and name not in chosen.only:
            continue
        missing = sorted(NEEDS.get(name.partition(",")[0], set()) - flags)
        for threads in chosen.threads:
            run = f"{name}, {threads} thread{'s' * (threads > 1)}"
            results[run] = f"skipped: this processor lacks {', '.join(missing)}" if missing else "started"
            if not missing:
                results[run] = outcome([*chosen.tests, *options], kernels, threads)
            print(f"{run}: {results[run]}", flush=True)
    return int(any(result.startswith("FAILED") for result in results.values()))


def outcome(selection: list[str], kernels: dict[str, str], threads: int) -> str:
    """Runs pytest in a process of its own: kernels are chosen when a library is loaded."""
    count = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    begin = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *selection]
    ended = subprocess.run(command, env={**os.environ, **kernels, **count}, check=False)
    verdict = "passed" if ended.returncode == 0 else f"FAILED (exit status {ended.returncode})"
    return f"{verdict} in {time.monotonic() - begin:.0f} s"


def processor_flags() -> set[str]:
    """The instruction sets of this processor, as Linux calls them."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


if __name__ == "__main__":
    sys.exit(main())
