"""Results as they were stored by earlier versions."""

from __future__ import annotations

import re
from typing import Any

_SINCE_INTERVALS = ("form", "level", "slices", "pairs", "comparisons", "powered", "gate")
_OF_METHODS = ("key", "intervals", "errors", "pace")
_STUDENT_AND_HEAD = re.compile(r"(?P<student>[\w-]+(\[.*\])?)( · (?P<head>[\w-]+))?", re.DOTALL)


def without_intervals(plain: dict[str, Any]) -> dict[str, Any]:
    """Take out what evaluations did not have before there were intervals: what was made of one is
    found again by its digest."""
    for name in _SINCE_INTERVALS:
        del plain[name]
    for method in plain["methods"]:
        for name in _OF_METHODS:
            del method[name]
    return plain


def student_and_head(name: str) -> dict[str, str]:
    """Return both from the name of a result stored before they were fields: `combined[seed=1] ·
    main`. The head of a student with one head was not written down."""
    found = _STUDENT_AND_HEAD.fullmatch(name)
    if found is None:
        return {"student": name}
    return {"student": found["student"], "head": found["head"] or ""}
