"""What keeps private things private: rules for a pool's columns (`[pools.NAME.mask]`), for what a
labeler's answers reveal (`[labels.NAME.reveal]`), and keys, which a job names and never holds."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from distill.spec.base import Name, Positive, Table


def _reference(text: str) -> str:
    scheme, colon, name = text.partition(":")
    if not colon or not name:
        raise ValueError("is no reference: say where the key lies, env:NAME or file:/PATH")
    if scheme == "file" and not name.startswith(("/", "~")):
        raise ValueError(f"file:{name}: give the whole path, which is the same on every machine")
    return text


# where a key lies, never the key: `env:NAME`, an environment variable, or `file:/PATH`; what lies
# there is base64 of 16 bytes or more. Plugins may bring key services
# (`distill.core.secret_keys`).
KeyReference = Annotated[str, AfterValidator(_reference)]


class Drop(Table):
    """The column is never read, as if it stood in `private`."""

    kind: Literal["drop"]


class Hash(Table):
    """A text in place of each value, the same for the same value and of no use without the key:
    HMAC-SHA256, 32 letters. Rows of one person stay together, also across pools with one key."""

    kind: Literal["hash"]
    key: KeyReference


class Truncate(Table):
    """The first letters of a text, as of a postcode."""

    kind: Literal["truncate"]
    letters: Positive


class Bins(Table):
    """A number becomes the lower border of its bin."""

    kind: Literal["bins"]
    width: Annotated[float, Field(gt=0)] | None = None
    """Of bins that are all alike: 10 makes 37 to 30."""
    edges: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    """Borders in rising order, in place of `width`; what lies below the first becomes the first."""

    @model_validator(mode="after")
    def _one_way(self) -> Bins:
        if (self.width is None) == (self.edges is None):
            raise ValueError("says width or edges, one of the two")
        if self.edges and any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"edges = {list(self.edges)} do not rise")
        return self

    @property
    def are_whole(self) -> bool:
        """Whether all borders are whole numbers, as the masked column then is."""
        borders = self.edges or (self.width or 0.0,)
        return all(border.is_integer() for border in borders)


class Dates(Table):
    """A date or a time becomes the text of its month, `2024-03`, or of another span."""

    kind: Literal["dates"]
    to: Literal["year", "quarter", "month", "day"] = "month"


class Redact(Table):
    """What is found in a text is replaced by its name: `[email]`."""

    kind: Literal["redact"]
    find: tuple[Literal["email", "phone", "card"], ...] = ()
    """Addresses; telephone numbers that begin with +, 00 or 0, or are written 555-123-4567; numbers
    of cards whose check digit is right."""
    patterns: dict[Name, str] = {}
    """Regular expressions of your own, by what stands in place of what they match: of RE2's kind,
    whose time grows with the text alone (neither look-around nor back-references)."""

    @model_validator(mode="after")
    def _finds_something(self) -> Redact:
        if not self.find and not self.patterns:
            raise ValueError('says neither find nor patterns; say what to find, as ["email"]')
        return self


# what a column leaves the reader as
Mask = Annotated[Drop | Hash | Truncate | Bins | Dates | Redact, Field(discriminator="kind")]


class Reveal(Table):
    """What of a labeler's answers is stored, where that is less than all: what a label set lets
    others learn of the rows that taught its labeler. It limits that, and proves nothing."""

    top_1: bool = False
    """The best class alone: its logit is 0, all others' −16; of independent outputs each is 16 or
    −16. No value has one."""
    clip: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """How far a logit may lie below the row's largest; of independent outputs and values, from 0.
    """
    round: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Logits or values become multiples of this, after they are clipped."""

    @model_validator(mode="after")
    def _says_something(self) -> Reveal:
        others = self.clip is not None or self.round is not None
        if self.top_1 and others:
            raise ValueError("top_1 leaves nothing to clip or round; drop one of them")
        if not self.top_1 and not others:
            raise ValueError("says nothing; say top_1, clip or round, or leave the table out")
        return self

    def plain(self) -> dict[str, Any]:
        """Return what it says, as a contract has it."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Encryption(Table):
    """Files encrypted by this side before any store sees them, each under a key of its own."""

    key: KeyReference
    """The key that wraps those of the files."""
