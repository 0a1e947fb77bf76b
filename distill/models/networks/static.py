"""`static`: a table of token vectors, for the speed of a CPU."""

from __future__ import annotations

from typing import Literal

from distill.models.networks.pretrained import PretrainedNetwork
from distill.models.text_tokens import ModelTokens
from distill.spec.base import Positive
from distill.spec.networks import BuiltNetwork, NetworkInput, NetworkSize


class StaticNetwork(PretrainedNetwork):
    """The mean of a text's token vectors, each with a weight that is learned: from a folder of
    model2vec, of wordllama or of an encoder, whose own table it then is. Some 100 times as fast as
    an encoder on a CPU."""

    kind: Literal["static"]
    max_tokens: Positive = 512
    """Of a text; a longer one is cut, as model2vec cuts it."""
    freeze: bool = False
    """Whether the table stays as it was; its tokens' weights are learned all the same."""

    @property
    def text_tokens(self) -> ModelTokens:
        return ModelTokens(self.files, self.max_tokens, "static")

    def require_fit(self, given: NetworkInput) -> None:
        from distill.models.static_table import require_static_files

        require_static_files(self, given.key)

    def built_size(self, in_features: int) -> NetworkSize:  # noqa: ARG002
        """Return its size, by its table."""
        from distill.models.begun_size import static_size

        return static_size(self)

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from distill.models.static_module import build_static

        return build_static(self, given)
