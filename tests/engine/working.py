"""What the engine's tests hand to workers; a module of its own, so that it travels by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from distill.engine.ray.stop_signal import NAMESPACE


class Bar:
    """Remembers what it showed."""

    def __init__(self) -> None:
        self.amount, self.notes = 0.0, []
        self.waited: list[str] = []

    def advance(self, amount: float, note: str = "") -> None:
        self.amount += amount
        self.notes.append(note)

    def waits(self, what: str) -> None:
        self.waited.append(what)


def doubling(config, device, stream):
    """A worker that dies once, on the number that its configuration names, leaving a mark."""
    assert device == "cpu"

    def work(task):
        mark = Path(config["mark"])
        if task["number"] == config["fatal"] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"twice": 2 * task["number"], "pid": os.getpid()}

    return work


def waiting(config, device, stream):
    """A worker that does not end its second task before the mark is there."""

    def work(task):
        while task["number"] and not Path(config["mark"]).exists():
            time.sleep(0.05)
        return task

    return work


def counting(items, mark):
    """So many items, each somewhat large, each leaving a trace."""
    for number in range(items):
        with Path(mark).open("a") as trace:
            trace.write(".")
        yield {"number": number, "values": np.full(70_000, number, np.float32), "pid": os.getpid()}


def repeating(number):
    """A number three times, with the process that says it."""
    for _ in range(3):
        yield number, os.getpid()


def streaming(config, device, stream):
    """A worker that is fed by a stream, and once dies in the midst of one."""

    def work(task):
        items = []
        for number, pid in stream(repeating, task["number"]):
            items.append((number, pid))
            mark = Path(config["mark"])
            if number == config["fatal"] and not mark.exists():
                mark.write_text(str(pid))
                os.kill(os.getpid(), signal.SIGKILL)
        return {
            "sum": sum(n for n, _ in items),
            "elsewhere": os.getpid() not in {pid for _, pid in items},
        }

    return work


def unbuildable(config, device, stream):
    raise FileNotFoundError(f"no weights at {config}")


def sum_over_workers(config, context):
    """Sums ranks by a collective; once, rank 1 dies before it, leaving a mark."""
    import torch
    import torch.distributed as dist

    mark = Path(config["mark"])
    if context.rank == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    total = torch.tensor([context.rank + 1.0])
    dist.all_reduce(total)
    context.say("sum", 5, "half way")
    dist.barrier()
    return total.item()


def raise_on_one_rank(config, context):
    import torch.distributed as dist

    if context.rank == 1:
        read_column(config)
    dist.barrier()


def read_column(name):
    raise KeyError(name)


def settings_seen(config, context):
    """Ray Train's settings as its controller hands them on."""
    return {name: os.environ.get(name) for name in config}


def giving_up(config, context):
    """Three parts, of which the middle one can be done."""
    context.give_up("students.a", "no rows")
    for done in (4, 8, 12):
        context.say("students.b", done, "b is done" if done == 12 else "")
    context.give_up("students.c", "no classes")


def raise_in_work(config, context):
    read_column(config)


def squares(item):
    """XᵀX of some rows."""
    rows = np.random.default_rng(item).standard_normal((777, 333))
    return rows.T @ rows


def traced(config, device, stream):
    """A worker whose tasks wait for the file `go`; each leaves the node on which it was begun, a
    line each time, and is found where it was done before."""
    import ray

    folder = Path(config["folder"])
    node = ray.get_runtime_context().get_node_id()

    def work(task):
        number = task["number"]
        done = folder / f"{number}.done"
        if not done.exists():
            with (folder / f"{number}.begun").open("a") as trace:
                trace.write(f"{node}\n")
            while not (folder / "go").exists():
                if is_leaving():
                    (folder / "leaving").touch()
                time.sleep(0.05)
            done.touch()
        return {"number": number}

    return work


def is_leaving():
    """Whether an actor has noted that it leaves its node."""
    from ray.experimental.internal_kv import _internal_kv_list

    return any(b"/left/" in key for key in _internal_kv_list("", namespace=NAMESPACE))


def asked_to_end(config, device, stream):
    """A worker whose process is sent SIGTERM once, within a task, and takes a while for it."""

    def work(task):
        mark = Path(config["mark"])
        if task["number"] == config["fatal"] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.0)
        with mark.with_name("done").open("a") as trace:
            trace.write(f"{task['number']}\n")
        return {"number": task["number"], "pid": os.getpid()}

    return work
