"""Networks of the user's own, by the key that names each within the table of its student or fit:
`model`, `heads.NAME.model`.

A class is known as a custom labeler is: by its `revision`, which the user changes when it means
something else. So a changed comment trains nothing again, and a file may be moved. The source is
read from beside the job, at each use: what lies in storage is never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from distill.core.errors import JobError
from distill.core.source import PythonFile
from distill.models.networks.custom import CustomModel
from distill.spec.networks import Network

TRUNK = "model"

Code = Mapping[str, PythonFile]
"""Sources by the keys of the networks that need them."""


def head_key(head: str) -> str:
    """Return the key of a head's own network."""
    return f"heads.{head}.model"


class _Headed(Protocol):
    @property
    def model(self) -> Network | None: ...


def networks_of(trunk: Network, heads: Mapping[str, _Headed]) -> dict[str, Network]:
    """Return a trunk and the heads' own networks, by their keys."""
    own = {head_key(name): head.model for name, head in heads.items() if head.model is not None}
    return {TRUNK: trunk, **own}


def custom_models(trunk: Network, heads: Mapping[str, _Headed]) -> dict[str, CustomModel]:
    """Return those networks that are the user's own, of a trunk and of heads, by their keys."""
    networks = networks_of(trunk, heads)
    return {key: model for key, model in networks.items() if isinstance(model, CustomModel)}


def revision_of(model: CustomModel, source: PythonFile, where: str) -> str:
    """Return the class's `revision`; `where` is the key of its network. Raises JobError."""
    made = source.load(model.name, where)
    revision = getattr(made, "revision", None)
    if not isinstance(made, type) or not isinstance(revision, str) or not revision:
        raise JobError(
            f"{where}: {model.name} in {source.path} must be a class with a `revision` (text, such"
            f' as "1"), by which its students are known; it is a {type(made).__name__} with'
            f" revision={revision!r}."
        )
    return revision


def identity_of(model: CustomModel, source: PythonFile, where: str) -> dict[str, Any]:
    """Return what says which network this is: everything but where its file lies."""
    # the revision says what the class means: a file may be moved, and a comment changed, for the
    # same student
    plain = model.model_dump(mode="json", exclude={"file"})
    return {**plain, "revision": revision_of(model, source, where)}
