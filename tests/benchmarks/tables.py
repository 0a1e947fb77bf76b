"""What the benchmarks share besides their work: options, Markdown, and the interval of paired
ratios."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RESULTS = Path(__file__).with_name("results")


def options(said: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes."""
    parser = argparse.ArgumentParser(
        description=said, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write every single measurement here, as JSON")
    parser.add_argument("--table", type=Path, help="write the table here as well")
    parser.add_argument(
        "--quick",
        "--tiny",
        action="store_true",
        help="small sizes: shows that it works, measures nothing",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="work in a new folder below this one (default: the temporary folder)",
    )
    return parser


def show(told: argparse.Namespace, title: str, parts: Sequence[str], measured: Any) -> None:
    """Print the page, and keep it and the measurements where the options say so."""
    page = "\n\n".join([f"# {title}", machine(), *parts]) + "\n"
    print(page)
    if told.table:
        told.table.write_text(page, "utf-8")
    if told.out:
        told.out.write_text(json.dumps(measured, indent=1), "utf-8")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """On what, and when."""
    names = ("ray", "torch", "pyarrow", "numpy")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    load = os.getloadavg()[0]
    now = datetime.now(timezone.utc)
    return (
        f"{now:%Y-%m-%d %H:%M} UTC; {_cpu_name()}, {os.cpu_count()} cores, load average {load:.1f} at the end; "
        f"Python {platform.python_version()}, {libraries}."
    )


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ours/theirs over pairs, and its 95% interval (Student's t over the
    logarithms); NaN where a number is not above 0."""
    if min(*ours, *theirs) <= 0:
        return math.nan, math.nan, math.nan
    logs = np.log(np.asarray(ours) / np.asarray(theirs))
    if len(logs) < 2:
        return float(np.exp(logs.mean())), math.nan, math.nan
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    mean = logs.mean()
    return float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half))


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
