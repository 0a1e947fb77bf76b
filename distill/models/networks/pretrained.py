"""What networks share that begin as a model which somebody trained before: where its files lie, and
that they are known by their sha256, wherever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from distill.models.files import ModelFiles
from distill.models.networks.mlp import Mlp
from distill.spec.base import Place, Positive
from distill.spec.networks import Network

if TYPE_CHECKING:
    from typing_extensions import Self


class BegunNetwork(Network):
    """A network that may begin as a model of the user's. A job names it as it likes; before it is
    built its files are identified (`with_files`), and what is stored of it names them so."""

    location_keys: ClassVar = frozenset({"model", "made_by"})
    """Keys that say where the model lies, and not which it is."""

    model: Place | None = None
    """Folder that holds the model, its weights as safetensors: a path relative to the job file, or a
    URI. `hf://ORGANISATION/NAME@REVISION` is one of the Hugging Face hub."""
    sha256: str | None = None
    """Refuse any other model: the digest that an error and the stored network say."""
    made_by: str | None = None
    """`FILE.py:FUNCTION`, relative to the job file: writes the model into the folder (a `Path`)
    that it is given, where it is not made yet."""

    @property
    def files(self) -> ModelFiles:
        """The model's files, once they were identified."""
        assert self.model is not None
        assert self.sha256 is not None
        return ModelFiles(self.model, self.sha256)

    def with_files(self, files: ModelFiles, where: str = "model") -> Self:  # noqa: ARG002  for others
        """Return the same network with its model's files as they were identified; `where` is its
        key. Raises JobError where they are of something else."""
        return self.model_copy(update={"model": files.uri, "sha256": files.sha256})


class PretrainedNetwork(BegunNetwork):
    """A network that reads text by the tokens of the model that it begins as."""

    trial = "shape"

    model: Place
    """Folder that holds the model, its weights as safetensors: a path relative to the job file, or a
    URI. `hf://ORGANISATION/NAME@REVISION` is one of the Hugging Face hub."""
    max_tokens: Positive
    """Of a text, at most."""

    normalize: bool = False
    """Scale what is seen of a text to length 1."""
    above: Mlp | None = None
    """Layers on top of that, as `{ kind = "mlp", hidden = [64] }`, which the heads see. Default: the
    heads see it."""

    @property
    def reads_text(self) -> bool:
        return True
