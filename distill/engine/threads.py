"""The threads of numerical libraries while this process is the worker.

Ray gives a worker of n CPUs `OMP_NUM_THREADS` = n, so one process that is to give the same labels
and fits has to do as Ray does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def worker_threads(cpus: float) -> Iterator[None]:
    """Limit BLAS and OpenMP to what a Ray worker of `cpus` CPUs has, and restore their threads and
    torch's, which the work sets itself. Libraries that are loaded inside are not limited."""
    import numpy as np  # noqa: F401  its BLAS has to be there to be limited
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    before = _torch_threads(controller)
    most = max(1, int(cpus))
    try:
        # BLAS sums in another order on another number of threads: of numpy 2.3's OpenBLAS, 11 of 40
        # products and factorisations had other last bits on two threads than on one
        with controller.limit(limits=most):
            # OpenMP is torch's pool too: a work that set itself fewer threads keeps them
            _set_torch_threads(min(before, most))
            yield
    finally:
        _set_torch_threads(before)


def _set_torch_threads(count: int) -> None:
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _torch_threads(controller: ThreadpoolController) -> int:
    """Return torch's number of threads, or where the work will load it, what it will begin with:
    like BLAS it takes the CPUs that this process may use."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return max((library["num_threads"] for library in controller.info()), default=1)
