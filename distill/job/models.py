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


class NgramBag(Table):
    """The only network that reads text: the mean of the embeddings of its words and of runs of them, hashed into a table (as fastText has it,
    Joulin et al. 2017). Its size is buckets × hidden, whatever the language."""

    kind: Literal["ngram_bag"]
    buckets: Annotated[int, Field(ge=1, le=1 << 30)] = 65_536
    """Places in the table; n-grams that share one are the same to the network."""
    ngrams: Annotated[int, Field(ge=1, le=8)] = 2
    """Words in a row that count together: 2 is words and pairs of them."""
    hidden: Positive = 64
    """Numbers of an embedding."""
    most: Positive = 256
    """N-grams of a text that count: its first ones."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


Network = Annotated[Linear | Mlp | Cnn | Rnn | NgramBag, Field(discriminator="kind")]


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
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate falls, to 0, after the warm-up."""
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of all steps: while it rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """The most that a step's whole gradient may measure; a larger one is scaled down to it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's matrix products; weights, losses and sums stay float32."""
    gradients: Literal["workers", "lanes"] = "workers"
    """`lanes`: lane by lane, summed in a fixed order, so that any number of workers gives the same weights to the last bit, and memory holds one lane."""
    compile: bool = False
    """Whether torch compiles the network first: some seconds that long trainings win back."""
    lanes: Positive = 8
    """Fixed streams that make a global batch; a number of workers must divide it."""
    checkpoint_epochs: Positive = 10
    """A checkpoint every so many epochs."""
    checkpoint_steps: Positive | None = None
    """And one every so many steps, where an epoch is long."""
    workers: Positive | tuple[Positive, Positive] = 2
    """Data-parallel processes, or `[min, max]` of them: as many as the cluster has room for, fewer when a node is lost, more when one comes.
    Each change goes on from the newest checkpoint (`checkpoint_steps`). Not part of a student's digest."""
    gpus: Gpus = "auto"
    """GPUs a worker."""

    @property
    def worker_range(self) -> tuple[int, int]:
        """The fewest and the most workers."""
        return (self.workers, self.workers) if isinstance(self.workers, int) else self.workers


class Fit(Table):
    """`[fit.NAME]`: train a labeler before it labels."""

    model: Annotated[Linear | Mlp | Cnn | Rnn | NgramBag | Eszsl, Field(discriminator="kind")]
    on: str
    """The labelled pool."""
    training: Training = Training()
    """For networks."""
    seed: Seed | None = None
    """Default: the job's."""
