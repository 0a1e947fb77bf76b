"""Where a labeler works: the device, the numbers it computes in, and its model's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from distill.core.source import PythonFile
from distill.models.files import ModelFiles, local_model
from distill.spec.outputs import Outputs


@dataclass(frozen=True)
class Runtime:
    """What a labeler is built with beside its table."""

    device: str = "cpu"
    precision: str = "float32"
    files: ModelFiles | None = None  # the model that the table names
    source: PythonFile | None = None  # the user's own part of the model, from beside the job
    columns: tuple[str, ...] = ()  # the names of the pool's columns of numbers
    outputs: Outputs | None = None  # what is expected of its answers

    def local_model(self) -> Path:
        """Bring the model to this machine, and return its file or folder. Raises JobError where it
        is not the one that was identified."""
        assert self.files is not None
        return local_model(self.files)


@contextmanager
def computing(device: str, precision: str) -> Iterator[None]:
    """Run torch without gradients in `precision`: but for float32, products in half of the bits."""
    # imported here: this module is imported wherever a job is read, and a finished job needs no
    # torch, which takes 3 s to import
    import torch

    halves = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    half = halves.get(precision)
    device_type = device.partition(":")[0]
    # one that is not enabled costs a batch 60 µs, half of a linear student's time
    autocast = nullcontext() if half is None else torch.autocast(device_type, half)
    with torch.inference_mode(), autocast:
        yield
