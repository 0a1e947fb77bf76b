"""Evaluations as TensorBoard's event files.

    <folder>/<job>-<digest>/<method>/events.out.tfevents.…    tracked.json, last

A folder that has `tracked.json` is done; one of a run that was killed is written anew, since events
that are there twice are drawn twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from distill.core.errors import MissingExtraError
from distill.core.results import Evaluation
from distill.stages.track.series import Series, evaluation_digest, series_of, slug

_DONE = "tracked.json"


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

    for each in series:
        with SummaryWriter(str(place / slug(each.name))) as writer:
            lines = [f"- {name}: {value}" for name, value in each.parameters.items()]
            writer.add_text("method", "\n".join(lines))
            for point in each.points:
                writer.add_scalar(point.name, point.value, point.step)
