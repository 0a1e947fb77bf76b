"""What a machine does while a process session labels: the GPU's busy share and the CPU cores used,
sampled; and rates from the labelers' own log.

The GPU's share is NVML's utilisation: of the last fraction of a second, how much had any kernel on
the device. It says nothing of how much of the device a kernel fills, which is why the rate is held
against resident tensors too.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from tests.benchmarks.child import session_cpu_seconds

_EVERY_SECONDS = 0.2
_SMI = [
    "nvidia-smi",
    "--id=0",
    "--query-gpu=utilization.gpu",
    "--format=csv,noheader,nounits",
    "-lms",
    "200",
]


class Watch:
    """Samples of a session until it is left: when, GPU percent, CPU seconds so far."""

    def __init__(self, session: int) -> None:
        self.session, self.samples = session, []
        self.source, self._percents = gpu_percents()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def between(self, began: float, ended: float) -> dict[str, float | None]:
        """Means over the samples in a span of `time.time()`; None where there are too few, or for a
        GPU that nobody can see."""
        inside = np.array([sample for sample in self.samples if began <= sample[0] <= ended], float)
        if len(inside) < 2:
            return {"gpu_busy_share": None, "cpu_cores_used": None}
        busy = None if np.isnan(inside[:, 1]).any() else float(inside[:, 1].mean()) / 100
        # a killed process takes its CPU seconds along, so nothing is interpolated to the sample
        # after the span
        seconds, _, used = inside[-1] - inside[0]
        return {"gpu_busy_share": busy, "cpu_cores_used": float(used / seconds)}

    def _sample(self) -> None:
        for percent in self._percents:
            self.samples.append((time.time(), percent, session_cpu_seconds(self.session)))
            if self._over.is_set():
                break
        self._percents.close()


def gpu_percents() -> tuple[str | None, Iterator[float]]:
    """Who tells the first GPU's utilisation, and its word five times a second; nobody, and NaN,
    where there is none."""
    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
            pynvml.nvmlDeviceGetUtilizationRates(gpu)  # not every device tells it
            return "pynvml", _asked(lambda: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
    if shutil.which(_SMI[0]):
        return _SMI[0], _printed()
    return None, _asked(lambda: np.nan)


def _asked(ask: Callable[[], float]) -> Iterator[float]:
    while True:
        yield ask()
        time.sleep(_EVERY_SECONDS)


def _printed() -> Iterator[float]:
    with subprocess.Popen(_SMI, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield from map(_number, process.stdout)
        finally:
            process.terminate()


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:  # "[N/A]"
        return np.nan


class Log:
    """The batches that a labeler noted (process, began, ended, rows), in the order in which they
    ended."""

    def __init__(self, path: Path) -> None:
        self.pid, self.began, self.ended, self.rows = np.loadtxt(path, ndmin=2).T

    def between(self, began: float, ended: float) -> dict[str, float]:
        """Rows a second, and the share of the time in which the labeler held a batch, within a span
        of `time.time()`."""
        inside = (self.ended > began) & (self.ended <= ended)
        return {
            "seconds": ended - began,
            "rows_per_second": float(self.rows[inside].sum() / (ended - began)),
            "labeler_held_share": self._held_seconds(began, ended) / (ended - began),
        }

    def _held_seconds(self, began: float, ended: float) -> float:
        """Seconds in which any labeler held a batch; two actors' batches may overlap."""
        order = np.argsort(self.began)
        starts, stops = np.clip([self.began[order], self.ended[order]], began, ended)
        reached = np.concatenate([[began], np.maximum.accumulate(stops)[:-1]])
        return float(np.clip(stops - np.maximum(starts, reached), 0, None).sum())
