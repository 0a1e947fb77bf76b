"""The Slurm array: its options, and what it does when its time is over."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster import files
from tests.waiting import LIMIT_SECONDS, wait_until

SCRIPT = files.path("slurm-array.sbatch")
KNOWN = {
    "job-name", "array", "nodes", "ntasks", "cpus-per-task", "mem", "gpus-per-node", "time",
    "requeue", "signal", "output", "partition", "account", "qos", "constraint",
}  # fmt: skip
"""Options of `sbatch`; a misspelt one is refused by Slurm when the job is submitted, here before."""
DISTILL = """#!/bin/bash
trap 'exit 143' TERM
echo "$@" > {folder}/asked
echo "$RAY_TMPDIR" > {folder}/ray
if [ -e {folder}/quick ]; then exit 3; fi
while true; do sleep 0.05; done
"""


def unknown(options):
    return set(options) - KNOWN


def test_an_option_is_none_of_slurms():
    assert unknown(files.sbatch_options(SCRIPT.name)) == set()
    assert unknown({"cpus-per-tasks": "8"}) == {"cpus-per-tasks"}
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0


def test_the_parts_are_not_those_of_the_array():
    last = re.fullmatch(r"1-(\d+)%\d+", files.sbatch_options(SCRIPT.name)["array"])[1]
    assert f"--part auto/{last} " in SCRIPT.read_text("utf-8")


@pytest.fixture
def begin(tmp_path):
    """Begin the script beside a `distill` and an `scontrol` that write down what they are asked."""
    commands = tmp_path / "bin"
    commands.mkdir()
    scripts = {
        "distill": DISTILL.format(folder=tmp_path),
        "scontrol": f'#!/bin/bash\necho "$@" > {tmp_path}/scontrol\n',
    }
    for name, text in scripts.items():
        (commands / name).write_text(text, "utf-8")
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_JOB_ID": "71",
    }
    return lambda: subprocess.Popen(["bash", SCRIPT, "job.toml"], env=environment)


def catches_sigterm(pid):
    caught = re.search(r"^SigCgt:\t(\w+)$", Path(f"/proc/{pid}/status").read_text("ascii"), re.M)[1]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


def test_the_signal_does_not_reach_the_driver_or_the_task_is_not_queued_again(begin, tmp_path):
    process = begin()
    wait_until(lambda: (tmp_path / "ray").exists() and (tmp_path / "ray").read_text("utf-8"))
    # the shell hands the signal on only once it catches it
    wait_until(lambda: catches_sigterm(process.pid))
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_SECONDS) == 143
    assert (tmp_path / "asked").read_text("utf-8").split() == [
        "run", "job.toml", "--part", "auto/64", "--log-format", "json",
    ]  # fmt: skip
    assert (tmp_path / "scontrol").read_text("utf-8").split() == ["requeue", "71_3"]
    assert not os.path.exists((tmp_path / "ray").read_text("utf-8").strip())


def test_a_driver_that_ends_by_itself_is_queued_again_or_its_code_is_lost(begin, tmp_path):
    (tmp_path / "quick").touch()
    assert begin().wait(LIMIT_SECONDS) == 3
    assert not (tmp_path / "scontrol").exists()
