"""One worker of a real training of an `ngram_bag`, as a program: it says what each step took.

    PYTHONPATH=REVISION python ngram_rank.py JOB RANK WORKERS MEETING WHOLE

REVISION is the folder of this repository, or of another revision of it: of before there were rows
of tables, which has other modules. WHOLE = 1: every step moves all rows. The answer is the last
line: wall and CPU seconds of each step from one call for a gradient to the next, so that the
loader, the network, the optimiser and the exchange between workers are all in it.
"""

import json
import sys
import time
from importlib import import_module
from itertools import pairwise


def main(job: str, rank: int, workers: int, meeting: str, whole: bool) -> None:
    """Train the job's student."""
    import torch.distributed as dist

    if workers > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers
        )
    clocks = []
    try:
        _train_now(job, rank, workers, whole, clocks)
    except ImportError:
        _train_before(job, rank, workers, clocks)
    steps = [
        [after - before for before, after in zip(one, other, strict=True)]
        for one, other in pairwise(clocks)
    ]
    print(json.dumps(steps), flush=True)


def _train_now(job, rank, workers, whole, clocks) -> None:
    from distill.engine.protocol import WorkerContext
    from distill.plan.load import load_job
    from distill.stages.train import gradients, table_rows
    from distill.stages.train.loop import run_trainings
    from tests.resolved import plan_student

    if whole:
        table_rows.SMALL_NUMBERS = 1 << 40
    _watch(gradients.WorkerGradients, clocks)
    loaded = load_job(job)
    plan = plan_student(loaded, loaded.variants[0])
    _wait(workers)
    run_trainings([plan], WorkerContext(rank, workers, "cpu"))


def _train_before(job, rank, workers, clocks) -> None:
    # by name: this revision has none of these modules
    engine, jobs = import_module("distill.engine"), import_module("distill.job")
    gradients, lessons = (
        import_module("distill.train.gradients"),
        import_module("distill.train.lesson"),
    )
    _watch(gradients.WorkerGradients, clocks)
    loaded = jobs.load_job(job)
    lesson = lessons.student_lesson(loaded, loaded.variants[0])
    _wait(workers)
    loop = import_module("distill.train.loop")
    loop.teach_all([lesson], engine.WorkerContext(rank, workers, "cpu"))


def _wait(workers: int) -> None:
    """Nobody ends before all have asked whether it is done."""
    import torch.distributed as dist

    if workers > 1:
        dist.barrier()


def _watch(kind, clocks) -> None:
    backward = kind.backward

    def watched(*arguments):
        clocks.append((time.perf_counter(), time.process_time()))
        return backward(*arguments)

    kind.backward = watched


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5] == "1")
