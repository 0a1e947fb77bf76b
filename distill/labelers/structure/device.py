"""Passes of `kmeans` and `pca` on a GPU, in torch: rows to their nearest centres, sums by centre, and
moments of columns.

Scores are float32 as on a CPU, in blocks of about a gigabyte, and never TF32, whose ten bits take
one near centre for another. Sums are added in float64: by centre in no fixed order, so the last of
its bits may differ from run to run, those of float32 do not. Moments are products in float64, which
a data-centre GPU computes as fast as float32; others take 32 or 64 times as long for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Int64
from distill.labelers.structure.parts import Columns, Scatter
from distill.labelers.structure.rows import uniform

if TYPE_CHECKING:
    from torch import Tensor

_SCORES = 1 << 28
_DOUBLES = 1 << 27
"""Of a block of rows in float64: a gigabyte."""


def nearest_on_device(shifted: Any, offsets: Matrix, device: str) -> tuple[Int64, Matrix]:
    """Return the nearest centre of each row (B, d), and its score x·c − ½‖c‖², both (B,)."""
    centres = _Centres(offsets, device)
    nearest = np.empty(len(shifted), np.int64)
    best = np.empty(len(shifted), np.float32)
    for block, rows in _blocks(shifted, _SCORES // len(offsets), device):
        score, number = centres.scores(rows).max(dim=1)
        nearest[block] = number.cpu().numpy()
        best[block] = score.cpu().numpy()
    return nearest, best


def sums_on_device(shifted: Any, offsets: Matrix, device: str) -> tuple[Double, Int64]:
    """Return the sums of the rows (B, d) that are nearest to each centre, (k, d), and their
    number, (k,). Rows may be on the device already, as a tensor."""
    import torch

    centres = _Centres(offsets, device)
    count, width = offsets.shape
    sums = torch.zeros(count, width, dtype=torch.float64, device=device)
    counts = torch.zeros(count, dtype=torch.int64, device=device)
    for _, rows in _blocks(shifted, _SCORES // count, device):
        nearest = centres.scores(rows).argmax(dim=1)
        sums.index_add_(0, nearest, rows.double())
        counts += torch.bincount(nearest, minlength=count)
    return sums.cpu().numpy(), counts.cpu().numpy()


def columns_on_device(values: Any, row: Int64, device: str) -> Columns:
    """Return what rows (B, d) of these numbers (B,) say of their columns, as `columns_of`."""
    import torch

    rows, width = values.shape
    mean = _mean(values, device)
    square = torch.zeros_like(mean)
    mark = torch.zeros_like(mean)
    low = torch.full((width,), torch.inf, device=device)
    high = -low
    weights = torch.from_numpy(uniform(0, 0, row)).to(device)
    for block, part in _blocks(values, _DOUBLES // width, device):
        doubles = part.double()
        mark += weights[block] @ doubles
        doubles -= mean
        square += doubles.square().sum(dim=0)
        low = torch.minimum(low, part.amin(dim=0))
        high = torch.maximum(high, part.amax(dim=0))
    found = [each.cpu().numpy() for each in (mean, square, low, high, mark)]
    return Columns(rows, *found)


def moments_on_device(values: Any, row: Int64, device: str) -> tuple[Columns, Scatter]:
    """Return `columns_on_device` and the whole `scatter_on_device` of the same rows, in one go over
    them: the sums of squares are the diagonal of the scatter, so next to the product, which takes
    2·d² operations a row, rows are read three times and written once."""
    import torch

    rows, width = values.shape
    mean = _mean(values, device)
    product = torch.zeros(width, width, dtype=torch.float64, device=device)
    mark = torch.zeros_like(mean)
    low = torch.full((width,), torch.inf, device=device)
    high = -low
    weights = torch.from_numpy(uniform(0, 0, row)).to(device)
    for block, part in _blocks(values, _DOUBLES // width, device):
        centred = part - mean
        product.addmm_(centred.T, centred)
        mark += weights[block] @ centred
        least, most = torch.aminmax(part, dim=0)
        low = torch.minimum(low, least)
        high = torch.maximum(high, most)
    mark += mean * weights.sum()
    square = product.diagonal()
    found = [each.cpu().numpy() for each in (mean, square, low, high, mark)]
    columns = Columns(rows, *found)
    return columns, Scatter(rows, columns.mean, product.cpu().numpy())


def scatter_on_device(values: Any, directions: Double | None, device: str) -> Scatter:
    """Return the scatter of rows (B, d), by directions (d, c) or whole, as `scatter_of`."""
    import torch

    width = values.shape[1]
    mean = _mean(values, device)
    turned = None if directions is None else torch.from_numpy(directions).to(device)
    across = width if turned is None else turned.shape[1]
    product = torch.zeros(width, across, dtype=torch.float64, device=device)
    for _, part in _blocks(values, _DOUBLES // width, device):
        centred = part.double() - mean
        right = centred if turned is None else centred @ turned
        product.addmm_(centred.T, right)
    return Scatter(len(values), mean.cpu().numpy(), product.cpu().numpy(), directions)


class _Centres:
    """Centres (k, d) on a device."""

    def __init__(self, offsets: Matrix, device: str) -> None:
        import torch

        centres = torch.from_numpy(offsets).to(device)
        self._across = centres.T
        self._halves = centres.square().sum(dim=1) / -2

    def scores(self, rows: Tensor) -> Tensor:
        """Return x·c − ½‖c‖² of rows and all centres, (B, k)."""
        import torch

        return torch.addmm(self._halves, rows, self._across)


def _mean(values: Any, device: str) -> Tensor:
    import torch

    total = torch.zeros(values.shape[1], dtype=torch.float64, device=device)
    for _, part in _blocks(values, _DOUBLES // values.shape[1], device):
        total += part.sum(dim=0, dtype=torch.float64)
    return total / max(1, len(values))


def _blocks(values: Any, step: int, device: str) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows on the device, where they may lie already."""
    import torch

    step = max(1, step)
    for start in range(0, len(values), step):
        block = slice(start, start + step)
        yield block, torch.as_tensor(values[block]).to(device)
