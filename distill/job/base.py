"""The base of every table in a job file: frozen, keyword-only, unknown keys refused, no silent conversion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """One table of a job file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


Gpus = Literal["auto"] | Annotated[float, Field(ge=0)]
"""GPUs for one process: a number, or "auto": one where the cluster has any, else none."""

Seed = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
"""Names become folders and keys of modules."""
Positive = Annotated[int, Field(ge=1)]
