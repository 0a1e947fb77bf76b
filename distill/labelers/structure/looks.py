"""What every fit finds out of its rows' columns in its first pass: that there are rows, that they
differ, and which columns never do."""

from __future__ import annotations

from typing import Any

import numpy as np

from distill.core.errors import PoolError
from distill.labelers.structure.parts import Columns

_NAMED = 20


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
