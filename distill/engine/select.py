"""Choose an engine by name, and import no other: neither Ray nor torch is loaded by this."""

from __future__ import annotations

from distill.core.errors import JobError
from distill.engine.protocol import Engine

EngineChoice = Engine | str
"""An engine, or the name of one: "ray" or "local"."""


def engine_of(choice: EngineChoice) -> Engine:
    """Return the engine that is chosen. Raises JobError for a name that none has."""
    if not isinstance(choice, str):
        return choice
    if choice == "ray":
        from distill.engine.ray.engine import RayEngine

        return RayEngine()
    if choice == "local":
        from distill.engine.local import LocalEngine

        return LocalEngine()
    raise JobError(f"engine = {choice!r}: there is 'ray' and 'local'.")
