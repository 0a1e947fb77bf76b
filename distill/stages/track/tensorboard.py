"""Evaluations as TensorBoard's event files.

    <folder>/<job>-<digest>/<method>/events.out.tfevents.…    tracked.json, last

A folder that has `tracked.json` is done; one of a run that was killed is written anew, since events
that are there twice are drawn twice.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from distill.core.errors import MissingExtraError
from distill.core.results import Evaluation
from distill.core.schema import digest
from distill.stages.track.series import Series, evaluation_digest, series_of, slug

_DONE = "tracked.json"
_NAME_CHARACTERS = 160  # of a method's folder: a disk takes 255 bytes, and a sweep's names are long


def require_tensorboard() -> None:
    """Raises MissingExtraError where it is not installed."""
    if find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "tensorboard", "tracking by TensorBoard")


def track_in_tensorboard(evaluation: Evaluation, folder: Path) -> tuple[Path, int]:
    """Write an evaluation's methods; return where, and how many were written now. Raises
    MissingExtraError."""
    require_tensorboard()
    place = folder / f"{slug(evaluation.job)}-{evaluation_digest(evaluation)}"
    done = place / _DONE
    if done.exists():
        return place, 0
    shutil.rmtree(place, ignore_errors=True)
    series = series_of(evaluation)
    _write(place, series)
    done.write_text(json.dumps([each.key for each in series]), "utf-8")
    return place, len(series)


def _write(place: Path, series: Sequence[Series]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for each, name in zip(series, _folders(series), strict=True):
        with SummaryWriter(str(place / name)) as writer:
            lines = [f"- {name}: {value}" for name, value in each.parameters.items()]
            writer.add_text("method", "\n".join(lines))
            for point in each.points:
                writer.add_scalar(point.name, point.value, point.step)


def _folders(series: Sequence[Series]) -> list[str]:
    """A folder's name for each: two in one folder were drawn as one curve."""
    names = [slug(each.name)[:_NAME_CHARACTERS] for each in series]
    # some disks tell no capitals from small letters
    taken = Counter(name.lower() for name in names)
    return [
        name if taken[name.lower()] == 1 else f"{name}-{digest([each.key])[:8]}"
        for each, name in zip(series, names, strict=True)
    ]
