"""A pass of `kmeans` on a GPU: rows to their nearest centres, and sums by centre, in torch.

Scores are float32 as on a CPU, in blocks of about a gigabyte. Sums are added in float64, in no fixed
order: the last of its bits may differ from run to run, those of float32 do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Int64

if TYPE_CHECKING:
    from torch import Tensor

_SCORES = 1 << 28


def sums_on_device(shifted: Any, offsets: Matrix, device: str) -> tuple[Double, Int64]:
    """Return the sums of the rows (B, d) that are nearest to each centre, (k, d), and their
    number, (k,). Rows may be on the device already, as a tensor."""
    import torch

    centres = torch.from_numpy(offsets).to(device)
    count, width = offsets.shape
    sums = torch.zeros(count, width, dtype=torch.float64, device=device)
    counts = torch.zeros(count, dtype=torch.int64, device=device)
    step = max(1, _SCORES // count)
    for start in range(0, len(shifted), step):
        rows = torch.as_tensor(shifted[start : start + step]).to(device)
        _add_block(rows, centres, sums, counts)
    return sums.cpu().numpy(), counts.cpu().numpy()


def _add_block(rows: Tensor, centres: Tensor, sums: Tensor, counts: Tensor) -> None:
    import torch

    halves = centres.square().sum(dim=1) / -2
    nearest = torch.addmm(halves, rows, centres.T).argmax(dim=1)
    sums.index_add_(0, nearest, rows.double())
    counts += torch.bincount(nearest, minlength=len(counts))
