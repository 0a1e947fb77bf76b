"""`ngram_bag`: fastText, Joulin et al. 2017."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from distill.spec.base import Positive
from distill.spec.networks import BuiltNetwork, Network, NetworkInput, NetworkSize, Ngrams


class NgramBag(Ngrams, Network):
    """The network that reads text: the mean of the embeddings of its words and of runs of them,
    hashed into a table (as fastText has it, Joulin et al. 2017). Its size is buckets × hidden,
    whatever the language."""

    trial = "none"

    kind: Literal["ngram_bag"]
    hidden: Positive = 64
    """Numbers of an embedding."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def text_hashing(self) -> Ngrams:
        return self

    def size(self, in_features: int) -> NetworkSize:  # noqa: ARG002  any text fits
        weights = (self.buckets + 1) * self.hidden
        return NetworkSize(weights, self.hidden)

    def build(self, given: NetworkInput) -> BuiltNetwork:  # noqa: ARG002  any text fits
        """Build the mean over a text's n-grams, zeros where it has none; drawn as fastText does."""
        import torch
        from torch import nn

        from distill.models.layers import dropout

        # + 1: place 0 is padding, which the mean leaves out
        bag = nn.EmbeddingBag(self.buckets + 1, self.hidden, mode="mean", padding_idx=0)
        # by this training knows that a step needs no other rows of it than its texts' places
        bag.reads_places = True  # type: ignore[assignment]
        with torch.no_grad():
            most = 1 / self.hidden
            bag.weight.uniform_(-most, most)
            bag.weight[0] = 0  # the place of nothing; never taught, as padding
        module = nn.Sequential(bag, *dropout(self.dropout))
        return BuiltNetwork(module, self.hidden)
