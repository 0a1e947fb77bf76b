"""What a job says of its stores (`[storage.…]`), for this process and for its workers, which have
it by the environment variable `VARIABLE`. What fsspec's own variables and files say counts beneath.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

VARIABLE = "DISTILL_STORAGE"
"""Environment variable: JSON of the options of each kind of filesystem, by scheme."""


def use_settings(options: Mapping[str, Mapping[str, Any]]) -> None:
    """Let this process's stores, and workers that start from now on, take these options, by scheme,
    and no job's before."""
    os.environ.pop(VARIABLE, None)
    if options:
        os.environ[VARIABLE] = json.dumps(options, sort_keys=True)


def options_of(scheme: str) -> dict[str, Any]:
    """Return what the job says of a kind of store."""
    options: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}")).get(scheme, {})
    return options
