"""The base of every table in a job file: frozen, keyword-only, unknown keys refused, no silent
conversion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """One table of a job file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the JSON schema, with what stands below each key in the code."""
        from distill.spec.described import DescribedSchema

        options.setdefault("schema_generator", DescribedSchema)
        return super().model_json_schema(*arguments, **options)


# GPUs for one process: a number, or "auto": one where the cluster has any, else none
Gpus = Literal["auto"] | Annotated[float, Field(ge=0)]

# the order of rows is digested as int64 (`Sampler.digest`), its seed too
Seed = Annotated[int, Field(ge=0, lt=2**63)]
# names become folders and keys of modules
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
# a pool by its name, or a selection as `select.NAME`
PoolName = Annotated[str, Field(pattern=r"^(select\.)?[A-Za-z][A-Za-z0-9_-]*$")]
# how many of something. No machine has more of what a job counts.
Positive = Annotated[int, Field(ge=1, lt=2**31)]
BatchRows = Annotated[int, Field(ge=1, le=2**24)]  # rows that are in memory together
# what logits are divided by before a softmax. In float32, above this all classes are alike but
# for rounding, and the square of what is far above has no number; below it one class has
# everything.
Temperature = Annotated[float, Field(ge=1e-3, le=1e4)]
# a folder, file or URI. An empty one would be the folder of the job file.
Place = Annotated[str, Field(pattern=r"\S")]


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that stand there more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def require_once(names: Sequence[str], key: str) -> None:
    """Raise ValueError where a key lists a name more than once."""
    twice = repeated(names)
    if twice:
        raise ValueError(f"{key} = {list(names)} names {twice} twice; name each once")


def require_distinct(classes: tuple[str, ...]) -> None:
    """Raise ValueError where a class stands twice, or none does."""
    twice = repeated(classes)
    if twice or not classes:
        raise ValueError(f"classes must be distinct and at least one; twice: {twice}")
