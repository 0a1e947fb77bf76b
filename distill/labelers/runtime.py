"""Where a labeler works: its model's files on this machine, the device, and the numbers it computes
in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Runtime:
    """Given to each labeler when it is made."""

    model: Path
    """File or folder."""
    device: str = "cpu"
    precision: str = "float32"


@contextmanager
def computing(device: str, precision: str) -> Iterator[None]:
    """Torch without gradients, in the precision asked for: matrix products in half of the bits
    where it is not float32."""
    import torch

    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    with (
        torch.inference_mode(),
        torch.autocast(device.split(":", maxsplit=1)[0], half, enabled=half is not None),
    ):
        yield
