"""What the GPU benchmark says of rates, of the GPU and of CPUs, without one."""

from __future__ import annotations

import math
import os
import sys
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from tests.benchmarks.gpu_watch import Log, Watch, gpu_percents


def log_of(folder, *batches):
    path = folder / "batches.log"
    np.savetxt(path, batches)
    return Log(path)


def test_rates_count_batches_that_end_in_the_span_and_time_held_within_it(tmp_path):
    log = log_of(tmp_path, (1, 0, 2, 100), (1, 3, 5, 100), (1, 6, 10, 100), (1, 10, 13, 100))
    assert log.between(4, 11) == {
        "seconds": 7,
        "rows_per_second": 200 / 7,
        "labeler_held_share": 6 / 7,
    }


def test_time_that_two_actors_hold_is_held_once(tmp_path):
    log = log_of(tmp_path, (2, 1, 4, 10), (1, 0, 6, 10), (1, 8, 9, 10))
    assert log.between(0, 10)["labeler_held_share"] == pytest.approx(0.7)


def test_a_killed_process_takes_no_cpu_seconds_back():
    watch = Watch(os.getsid(0))
    watch.samples = [(0, 50, 1.0), (2, 70, 4.0), (3, 90, 0.5)]
    assert watch.between(0, 2.9) == {
        "gpu_busy_share": pytest.approx(0.6),
        "cpu_cores_used": pytest.approx(1.5),
    }


def test_without_samples_or_a_gpu_nothing_is_said():
    watch = Watch(os.getsid(0))
    watch.samples = [(0, math.nan, 1.0), (1, math.nan, 2.0)]
    assert watch.between(0, 1) == {"gpu_busy_share": None, "cpu_cores_used": 1.0}
    assert watch.between(5, 9) == {"gpu_busy_share": None, "cpu_cores_used": None}


def test_a_watched_session_is_sampled_until_it_is_left():
    with Watch(os.getsid(0)) as watch:
        while len(watch.samples) < 2:
            pass
    (first, _, used), (second, _, more) = watch.samples[:2]
    assert first < second
    assert 0 < used <= more


class NoDriverError(Exception):
    pass


def nvml(monkeypatch, **functions):
    module = SimpleNamespace(
        NVMLError=NoDriverError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda n: n,
        **functions,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_nvml_is_asked_where_it_answers(monkeypatch):
    nvml(monkeypatch, nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=37))
    source, percents = gpu_percents()
    assert (source, next(percents)) == ("pynvml", 37)


def test_nvidia_smi_is_read_where_nvml_does_not_answer(monkeypatch, tmp_path):
    def refuse(gpu):
        raise NoDriverError

    nvml(monkeypatch, nvmlDeviceGetUtilizationRates=refuse)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 42\necho '[N/A]'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    source, percents = gpu_percents()
    said = list(islice(percents, 2))
    percents.close()
    assert source == "nvidia-smi"
    assert said[0] == 42
    assert math.isnan(said[1])


def test_nobody_tells_where_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    source, percents = gpu_percents()
    assert source is None
    assert math.isnan(next(percents))
