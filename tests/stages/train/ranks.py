"""Ranks of a training as plain processes that meet over gloo: quick to start, to kill, and to start
again in another number.

    python -m tests.stages.train.ranks JOB RANK WORKERS MEETING LOG DIES_AT

trains the job's students; after each step a rank appends the step and the rows it saw to LOG.RANK,
and SIGKILLs itself before step DIES_AT takes effect (−1: never).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from tests.forkserver import REPOSITORY, Forked, fork_module
from tests.waiting import LIMIT_SECONDS

_MODULE = "tests.stages.train.ranks"


def train(
    job: Path, workers: int, log: Path, *, dies_at: int = -1, dying: int = 0, cold: int = -1
) -> None:
    """Train with ranks 0 … W−1 to their end; rank `dying` kills itself at a step, and the others
    are killed then.

    A cold rank is an interpreter of its own, so that it hashes strings by a seed of its own too.
    """
    meeting = job.with_name(f"meeting-{uuid.uuid4().hex}")
    ranks = []
    for rank in range(workers):
        begin = _cold if rank == cold else fork_module
        last_step = dies_at if rank == dying else -1
        ranks.append(begin(_MODULE, job, rank, workers, meeting, log, last_step))
    try:
        first = ranks[dying]
        output, _ = first.communicate(timeout=LIMIT_SECONDS)
        assert first.returncode == (0 if dies_at < 0 else -signal.SIGKILL), output
        for rank in ranks:
            if dies_at >= 0:
                rank.kill()
            output, _ = rank.communicate(timeout=LIMIT_SECONDS)
            assert dies_at >= 0 or rank.returncode == 0, output
    finally:
        for rank in ranks:
            rank.kill()


def _cold(module: str, *arguments: object) -> Forked | subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def seen(log: Path, workers: int) -> dict[int, list[int]]:
    """Step → rows of the global batch by lane, as the last execution of each step saw them."""
    steps: dict[int, dict[int, list[int]]] = {}
    for rank in range(workers):
        for line in log.with_name(f"{log.name}.{rank}").read_text("utf-8").splitlines():
            told = json.loads(line)
            lanes = len(told["rows"]) // told["lane_rows"]
            for number in range(lanes):
                start = number * told["lane_rows"]
                rows = told["rows"][start : start + told["lane_rows"]]
                steps.setdefault(told["step"], {})[rank + number * workers] = rows
    return {
        step: [row for lane in sorted(lanes) for row in lanes[lane]]
        for step, lanes in steps.items()
    }


def _main(job: str, rank: int, workers: int, meeting: str, log: str, dies_at: int) -> None:
    import torch.distributed as dist

    from distill.engine.protocol import WorkerContext
    from distill.plan.load import load_job
    from distill.plan.training import TrainingPlan
    from distill.stages.train import gradients
    from distill.stages.train.loop import run_trainings
    from tests.resolved import plan_student

    for kind in (gradients.LaneGradients, gradients.WorkerGradients):
        kind.backward = _watched(kind.backward, Path(f"{log}.{rank}"), dies_at)
    if workers > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers
        )
    loaded = load_job(job)
    lessons = [plan_student(loaded, variant) for variant in loaded.variants]
    if workers > 1:
        dist.barrier()  # nobody ends a lesson before all have asked whether it is done
    _watched.lane_rows = (
        loaded.variants[0].spec.training.batch_rows // loaded.variants[0].spec.training.lanes
    )
    run_trainings(
        [lesson for lesson in lessons if isinstance(lesson, TrainingPlan)],
        WorkerContext(rank, workers, "cpu"),
    )


def _watched(backward, log, dies_at):
    def told(self, seed, step, batches):
        if step == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        made = backward(self, seed, step, batches)
        with log.open("a", encoding="utf-8") as file:
            line = {
                "step": step,
                "rows": batches[0]["row"].tolist(),
                "lane_rows": _watched.lane_rows,
            }
            file.write(json.dumps(line) + "\n")
        return made

    return told


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:6], int(sys.argv[6]))
