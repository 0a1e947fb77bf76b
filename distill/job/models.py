"""The models a job can name: networks trained by gradients, and labelers fitted by passes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from distill.job.base import Gpus, Positive, Seed, Table


class Linear(Table):
    """One affine map."""

    kind: Literal["linear"]


class Mlp(Table):
    """Fully connected layers with ReLU between."""

    kind: Literal["mlp"]
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Width of each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Cnn(Table):
    """3×3 convolutions with ReLU, each followed by 2×2 max pooling while the image allows; then one hidden layer."""

    kind: Literal["cnn"]
    shape: tuple[Positive, Positive, Positive]
    """Channels, height, width: how the feature vector is folded into an image."""
    channels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (32, 64)
    hidden: Positive = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Rnn(Table):
    """A GRU over a sequence; what it remembers after the last step is seen by the heads."""

    kind: Literal["rnn"]
    shape: tuple[Positive, Positive]
    """Steps, and numbers a step: how the feature vector is folded into a sequence."""
    hidden: Positive = 64
    layers: Positive = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Between layers, and before the heads."""


Network = Annotated[Linear | Mlp | Cnn | Rnn, Field(discriminator="kind")]


Candidates = Annotated[tuple[float, ...], Field(min_length=1)]
Factors = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class Eszsl(Table):
    """Attribute-based zero-shot classifier in closed form (ESZSL, Romera-Paredes & Torr 2015) with calibrated stacking
    (Chao et al. 2016). Its constants are chosen by holding out seen classes as if they were unseen."""

    kind: Literal["eszsl"]
    descriptions: str
    """CSV file: a header `class,ATTRIBUTE…`, then a row a class, also for classes without any label."""
    encoder: str | None = None
    """A sentence-transformers model (as `model` of a ready labeler): the file then has one text a class, whose embedding its attributes are."""
    feature_ridges: Factors = (0.003, 0.03, 0.3)
    """Candidates for γ of the feature side, a row."""
    attribute_ridges: Factors = (0.1, 1.0, 10.0)
    """Candidates for λ of the attribute side."""
    calibrations: Candidates = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
    """Candidates for what calibrated stacking takes off the scores of seen classes."""
    scales: Factors = (4.0, 8.0, 16.0, 32.0)
    """Candidates for the factor that turns scores into logits."""
    seed: Seed = 0
    """Of which classes are held out together, and of which rows are sampled to choose the constants on, where there are too many for all."""


class Training(Table):
    """How a network is trained by gradients."""

    epochs: Positive = 20
    """Passes over the rows it learns from."""
    batch_rows: Positive = 256
    """Rows of a global batch, over all workers."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    lanes: Positive = 8
    """Fixed streams that make a global batch; workers must divide it."""
    checkpoint_epochs: Positive = 10
    """A checkpoint every so many epochs."""
    workers: Positive = 2
    """Data-parallel processes. Not part of a student's digest."""
    gpus: Gpus = "auto"
    """GPUs a worker."""


class Fit(Table):
    """`[fit.NAME]`: train a labeler before it labels."""

    model: Annotated[Linear | Mlp | Cnn | Rnn | Eszsl, Field(discriminator="kind")]
    on: str
    """The labelled pool."""
    training: Training = Training()
    """For networks."""
    seed: Seed | None = None
    """Default: the job's."""
