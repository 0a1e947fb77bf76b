"""What a network is: keys of a job file, which features it reads, and the torch module it builds.

A new network is one class in one file that derives from `Network`. It imports torch within its
functions alone, so that reading a job loads none.

Shapes: B rows, F numbers of a row, L n-grams of a text, H numbers that the heads see.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Field

from distill.core.source import PythonFile
from distill.spec.base import Positive, Table
from distill.spec.kinds import Kind
from distill.spec.pools import Features, TextFeatures

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn
    from typing_extensions import Self

    TokenIds = npt.NDArray[np.int32]
    """The tokens of one text."""


class TextTokens(Protocol):
    """How texts become tokens; small, so that it travels with each dataset."""

    @property
    def digest(self) -> str:
        """Digest of the tokenizer's files and of all that decides which tokens a text becomes."""

    @property
    def most(self) -> int:
        """Tokens of a text, at most."""

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of each text; of one that is too long, as many as there may be."""

    def encode_counted(self, texts: Sequence[str]) -> tuple[list[TokenIds], int]:
        """Return the same, and how many of the texts were too long."""


Words = Literal["unicode", "letters"]


class Ngrams(Table):
    """How a text becomes numbers: its words and runs of them, hashed to places in a table. 0 stands
    for nothing."""

    buckets: Annotated[int, Field(ge=1, le=1 << 30)] = 65_536
    """Places in the table; n-grams that share one are the same to the network."""
    ngrams: Annotated[int, Field(ge=1, le=8)] = 2
    """Words in a row that count together: 2 is words and pairs of them."""
    most: Positive = 256
    """N-grams of a text that count: its first ones."""
    words: Words = "unicode"
    """What a word is. `unicode`: letters and digits with the marks that belong to them, whatever
    the script. `letters`: marks divide words, as of students that were trained before this was a key:
    their vowels are lost in Hindi, Tamil, Thai and pointed Arabic."""

    def with_words(self, words: Words) -> Self:
        """Return the same with other words."""
        update = {"words": words}
        return self.model_copy(update=update)


class FitModel(Kind):
    """What `[fit.NAME]` can fit: by gradients, or by passes over a pool."""

    @property
    def text_hashing(self) -> Ngrams | None:
        """How its texts become numbers; None where it reads numbers."""
        return None

    @property
    def text_tokens(self) -> TextTokens | None:
        """How its texts become tokens; None where it reads none. Of a network whose model's files
        were identified."""
        return None

    @property
    def reads_text(self) -> bool:
        """Whether it reads text."""
        return self.text_hashing is not None

    @property
    def words_are_unsaid(self) -> bool:
        """Whether it reads text, and its table does not say what a word is."""
        ngrams = self.text_hashing
        return ngrams is not None and "words" not in ngrams.model_fields_set

    def with_words(self, words: Words) -> Self:  # noqa: ARG002  of text alone
        """Return the same model, reading words so where it reads text."""
        return self

    @property
    def text_key(self) -> str:
        """The key by which it reads text, as the job file says it."""
        return f'kind = "{self.kind}"'

    def misread(self, features: Features | None, pool: str) -> Iterator[str]:
        """Yield why it cannot read the features of a pool, each beginning with one of its keys."""
        has_text = isinstance(features, TextFeatures)
        if has_text and not self.reads_text:
            is_text = self.text_key == "text"
            advice = "Add it." if is_text else "Use one of these."
            yield (
                f"kind = {self.kind!r}: pools.{pool} has features of text, which only"
                ' "ngram_bag", "encoder" and "static" read, or a custom one with `text`.'
                f" {advice}"
            )
        if self.reads_text and not has_text:
            yield (
                f"{self.text_key}: reads text, but pools.{pool} has features of numbers. Use"
                " another network."
            )


@dataclass(frozen=True)
class NetworkInput:
    """What one network of a student is built for."""

    in_features: int  # f, or L where it reads text
    key: str = "model"  # the network's key, for messages
    code: PythonFile | None = None  # the file beside the job that has its class, if one has
    # the tensors that it will be given, of a network trained before: it opens no other file
    stored: Mapping[str, Tensor] | None = None


class BuiltNetwork(NamedTuple):
    """A torch module, and what the heads see of it."""

    # (B, F) float32 → (B, H) float32; of text (B, L) int32: places of n-grams, 0 to `buckets`, or
    # tokens, padded by -1
    module: nn.Module
    width: int  # H


class NetworkSize(NamedTuple):
    """How large a module is, by its table alone."""

    weights: int  # numbers that it learns
    width: int  # H
    frozen: int = 0  # numbers that stay as they are


class Network(FitModel):
    """A network that is trained by gradients: a student's trunk, or a head's own."""

    trial: ClassVar[Literal["none", "shape", "training"]] = "training"
    """What is tried on the rows' width before any work: `require_fit`, or also everything that
    training and loading take for granted of a module, which distill's own tests show of its own
    networks."""

    def require_fit(self, given: NetworkInput) -> None:
        """Raise JobError, by its key, where it does not fit the rows. Needs no torch."""

    def size(self, in_features: int) -> NetworkSize | None:  # noqa: ARG002  each has its own
        """Return how large it is for rows of F numbers, unbuilt; None where that is not known."""
        return None

    def built_size(self, in_features: int) -> NetworkSize | None:
        """Return the same, also where only building it tells, which may take torch and seconds;
        None of a class of the user's own. Raises JobError."""
        return self.size(in_features)

    @abstractmethod
    def build(self, given: NetworkInput) -> BuiltNetwork:
        """Build the module, its weights drawn by torch. Raises JobError, by its key, where it does
        not fit the rows."""
