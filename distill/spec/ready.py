"""Labelers that come ready: whose model somebody else trained, and which a job only names.

`classes` are the names of the model's outputs in their order, so that nobody's order is guessed:
where the model names its own, the two are held against each other when it is loaded. Without
`classes` it answers values, `width` numbers a row.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import Positive, Table

Classes = Annotated[tuple[str, ...], Field(min_length=1)]


class Ready(Table):
    """What all have."""

    model: str
    """Folder or file that holds the model: a path relative to the job file, or a URI.
    `hf://ORGANISATION/NAME@REVISION` is one of the Hugging Face hub, at a commit, branch or tag."""
    sha256: str | None = None
    """Refuse any other model: the digest that `distill show` and the contract say."""
    made_by: str | None = None
    """`FILE.py:FUNCTION`, relative to the job file: writes the model into the folder (a `Path`)
    that it is given, where it is not made yet."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in order; empty where it answers values."""
        return tuple(getattr(self, "classes", None) or ())

    @property
    def exclusive(self) -> bool:
        """Whether a row has one class."""
        return not getattr(self, "independent", False)

    @model_validator(mode="after")
    def _distinct(self) -> Ready:
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("classes must be distinct")
        return self


class Sklearn(Ready):
    """A scikit-learn estimator, saved by `skops.io.dump`. With classes: `predict_proba`, as
    log-probabilities; else `predict`."""

    kind: Literal["sklearn"]
    classes: Classes | None = None
    """As `classes_` of the estimator has them, written as text."""
    width: Positive = 1
    """Numbers a row of `predict`; for estimators without classes."""
    trusted: tuple[str, ...] = ()
    """Types in the file that skops does not trust by itself and you do, such as
    "mypackage.MyTransformer"."""


class SequenceClassifier(Ready):
    """A Hugging Face sequence classifier: text → logits of its labels, or the numbers of a
    regression."""

    kind: Literal["sequence_classifier"]
    classes: Classes | None = None
    """As the model's `id2label` has them."""
    independent: bool = False
    """Whether each label is said or not by itself (a sigmoid each)."""
    width: Positive = 1
    """Numbers a row; for a regression."""
    max_tokens: Positive = 512
    """A longer text is cut."""


class Nli(Ready):
    """A Hugging Face NLI model as a zero-shot classifier: how well does a text entail "This example
    is CLASS."? Yin et al. 2019."""

    kind: Literal["nli"]
    classes: Classes
    hypothesis: str = "This example is {}."
    """`{}` stands for the class, or for its description."""
    descriptions: tuple[str, ...] | None = None
    """What is put for each class instead of its name."""
    independent: bool = False
    """Whether a text may have several classes: each is then entailment against contradiction."""
    max_tokens: Positive = 512
    """A longer text is cut; the hypothesis never is."""

    @model_validator(mode="after")
    def _template(self) -> Nli:
        if self.hypothesis.count("{}") != 1:
            raise ValueError(
                f"hypothesis = {self.hypothesis!r} must have one {{}}, where the class stands"
            )
        _one_each(self.classes, self.descriptions)
        return self


class Similarity(Ready):
    """A sentence-transformers model as a zero-shot classifier: cosine of a text's embedding to
    those of the classes' descriptions."""

    kind: Literal["similarity"]
    classes: Classes
    descriptions: tuple[str, ...] | None = None
    """What is put for each class instead of its name."""
    templates: Annotated[tuple[str, ...], Field(min_length=1)] = ("{}",)
    """A class is the mean of its embeddings in all of these. Radford et al. 2021, 3.1.4."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Logits are cosines over this."""

    @model_validator(mode="after")
    def _template(self) -> Similarity:
        wrong = [template for template in self.templates if template.count("{}") != 1]
        if wrong:
            raise ValueError(f"templates: {wrong[0]!r} must have one {{}}, where the class stands")
        _one_each(self.classes, self.descriptions)
        return self


class Embedding(Ready):
    """Embeddings by a sentence-transformers model."""

    kind: Literal["embedding"]
    width: Positive
    """Numbers of an embedding."""
    normalize: bool = False
    """Scale each to length 1."""


class StudentLabeler(Ready):
    """A model that distill trained: yesterday's student teaches the next. `model` is its folder,
    `<root>/students/<name>/<digest>`."""

    kind: Literal["student"]
    file: str | None = None
    """Of a student with modules of the user's own: the Python file that has their classes, relative
    to the job file. Code is never taken from storage."""
    classes: Classes | None = None
    """As the head has them."""
    independent: bool = False
    """Whether the head's outputs are independent."""
    width: Positive = 1
    """Numbers a row of a head without classes, or of `layer`."""
    head: str | None = None
    """Default: its first."""
    layer: str | None = None
    """Answer what a layer says instead of a head, as an embedding: a name within the network, such
    as "trunk"."""

    @model_validator(mode="after")
    def _either(self) -> StudentLabeler:
        if self.layer is not None and (self.classes or self.head):
            raise ValueError("has a layer and a head or classes; an embedding has neither")
        return self


ReadyLabeler = Annotated[
    Sklearn | SequenceClassifier | Nli | Similarity | Embedding | StudentLabeler,
    Field(discriminator="kind"),
]
READS_TEXT = (SequenceClassifier, Nli, Similarity, Embedding)


def _one_each(classes: tuple[str, ...], descriptions: tuple[str, ...] | None) -> None:
    if descriptions is not None and len(descriptions) != len(classes):
        raise ValueError(
            f"has {len(classes)} classes and {len(descriptions)} descriptions; give one for each"
        )
