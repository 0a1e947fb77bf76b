"""What every fit finds out of its rows' columns in its first pass: that there are rows, that they
differ, and which columns never do."""

from __future__ import annotations

from typing import Any

import numpy as np

from distill.core.errors import PoolError
from distill.labelers.structure.parts import Columns

_NAMED = 20
_MOST_SQUARE = float(np.finfo(np.float32).max) / 16
_LEAST_VARIANCE = 1e-30
"""Float32 has numbers down to 1e-38; squares that tell rows apart are smaller than the variance."""


def require_differing(columns: Columns, where: str) -> None:
    """Raise PoolError where there are no rows, one, or all are equal."""
    if columns.rows == 0:
        raise PoolError(
            f"{where}: not one row is usable. See why they were rejected: distill verify."
        )
    if columns.is_constant.all():
        number = f"all {columns.rows:,} rows are" if columns.rows > 1 else "the only usable row is"
        raise PoolError(
            f"{where}: {number} equal in all {len(columns.mean):,} columns, so nothing can be"
            " found in them. Compare `of` with the columns that the pool's features name."
        )


def require_squares(columns: Columns, where: str) -> None:
    """Raise PoolError where squared distances of rows have no float32, in which rows are compared:
    they would all seem equal."""
    largest = np.maximum(np.abs(columns.low), np.abs(columns.high)).astype(np.float64)
    variance = columns.square.sum() / columns.rows
    if np.sum(largest**2) < _MOST_SQUARE and variance > _LEAST_VARIANCE:
        return
    raise PoolError(
        f"{where}: numbers up to {largest.max():.3g}, with a standard deviation of"
        f" {np.sqrt(variance):.3g} in all, have no squares in float32. Bring them nearer to 1, or"
        ' put it on a structure { kind = "pca", whiten = true } of them.'
    )


def column_details(columns: Columns) -> dict[str, Any]:
    """Return what a person wants to know of the rows: how many, and constant columns by their
    numbers, the first few of them, and equal ones by pairs."""
    constant = np.flatnonzero(columns.is_constant)
    pairs = columns.duplicates()
    return {
        "rows": columns.rows,
        "columns": len(columns.mean),
        "constant_columns": len(constant),
        "first_constant_columns": constant[:_NAMED].tolist(),
        "equal_columns": len(pairs),
        "first_equal_columns": [list(pair) for pair in pairs[:_NAMED]],
    }
