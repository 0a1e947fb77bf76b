"""Results as they were stored by earlier versions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
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


def without_infinite(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the same with null in place of every number that is NaN or infinite, which JSON does
    not have, and `unknown`: which they are, by their paths, and why; without it where all are
    finite."""
    unknown: dict[str, str] = {}
    finite: dict[str, Any] = _finite(plain, "", unknown)
    return {**finite, "unknown": unknown} if unknown else plain


def _finite(value: Any, path: str, unknown: dict[str, str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        unknown[path] = _why(path, value)
        return None
    if isinstance(value, dict):
        return {
            key: _finite(each, f"{path}.{key}".lstrip("."), unknown) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_finite(each, f"{path}.{number}", unknown) for number, each in enumerate(value)]
    return value


_WHYS = (
    (
        re.compile(r"methods\.\d+\.measures\."),
        "an answer of the method is NaN or infinite on a row",
    ),
    (re.compile(r"methods\.\d+\.intervals\."), "no resample of the rows has a finite value"),
    (re.compile(r"slices\."), "too few rows, or an answer that is NaN or infinite on one of them"),
    (
        re.compile(r"comparisons\.|powered\."),
        "too few rows for an interval, or a measure not known",
    ),
)


def _why(path: str, value: float) -> str:
    for pattern, why in _WHYS:
        if pattern.match(path):
            return why
    return f"it is {value}"


def with_infinite(plain: dict[str, Any]) -> dict[str, Any]:
    """Return what `without_infinite` was given, as far as readers need it: measures and intervals
    that are not known are left out, and bounds that are not known are none."""
    if "unknown" not in plain:
        return plain
    kept = {key: value for key, value in plain.items() if key != "unknown"}
    kept["methods"] = [_known_of_method(method) for method in plain["methods"]]
    kept["slices"] = [_known_of_slice(each) for each in plain.get("slices", ())]
    for name in ("comparisons", "powered"):
        kept[name] = [_bounded(each) for each in plain.get(name, ())]
    return kept


def _known_of_method(method: dict[str, Any]) -> dict[str, Any]:
    measures = {name: value for name, value in method["measures"].items() if value is not None}
    intervals = {
        name: ends for name, ends in method.get("intervals", {}).items() if None not in ends
    }
    return {**method, "measures": measures, "intervals": intervals}


def _known_of_slice(each: dict[str, Any]) -> dict[str, Any]:
    measures = {
        key: {name: _figures(values) for name, values in named.items()}
        for key, named in each["measures"].items()
    }
    return {**each, "measures": measures}


def _figures(values: list[Any]) -> list[Any]:
    """A value with its interval, or alone where an end of it is not known."""
    return values[:1] if None in values else values


def _bounded(result: dict[str, Any]) -> dict[str, Any]:
    """A result whose unknown bounds are none; an unknown value is NaN."""
    return dict(_bounds(result))


def _bounds(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in result.items():
        if value is not None or name in ("gained", "lost", "p_value"):
            yield name, value
        elif name.endswith("low"):
            yield name, -math.inf
        else:
            yield name, math.inf if name.endswith("high") else math.nan
