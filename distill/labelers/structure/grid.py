"""The grid of a self-organising map: where units lie, how far apart, and which are neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Double

Grid = Literal["rectangular", "hexagonal"]
_ROW_HEIGHT = np.sqrt(3) / 2
_DIAGONAL = np.sqrt(2)


def positions(rows: int, columns: int, grid: Grid) -> Double:
    """Return (x, y) of each unit, row by row, (rows·columns, 2): the nearest units are 1 apart. Of a
    hexagonal grid odd rows lie half a unit to the right."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    if grid == "rectangular":
        return np.stack([column, row], axis=1).astype(np.float64)
    return np.stack([column + 0.5 * (row % 2), row * _ROW_HEIGHT], axis=1)


def squared_distances(position: Double) -> Double:
    """Return squared distances of all pairs of units, (u, u)."""
    squares = _squared_differences(position[:, 0])
    squares += _squared_differences(position[:, 1])
    return squares


def neighbours(position: Double, grid: Grid) -> npt.NDArray[np.bool_]:
    """Return which of all pairs of units are neighbours, (u, u)."""
    return are_adjacent(squared_distances(position), grid)


def are_adjacent(squares: Double, grid: Grid) -> npt.NDArray[np.bool_]:
    """Return which squared distances are those of neighbours: six of a hexagonal grid, and of a
    rectangular one eight, as others count them in the topographic error."""
    reach = 1.0 if grid == "hexagonal" else _DIAGONAL
    return (squares > 0) & (squares < (reach + 0.01) ** 2)


def _squared_differences(numbers: Double) -> Double:
    # in place: of 10,000 units this takes 800 MB
    apart: Double = np.subtract.outer(numbers, numbers)
    apart *= apart
    return apart
