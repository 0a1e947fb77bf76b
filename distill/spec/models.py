"""`[fit.NAME]` and what it shares with students: how a network is trained and when that stops; and
labelers that are fitted by passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from distill.spec.augment import Augment
from distill.spec.base import BatchRows, Gpus, Positive, Seed, Table
from distill.spec.networks import FitModel
from distill.spec.pate import Teachers
from distill.spec.private import Private

Candidates = Annotated[tuple[float, ...], Field(min_length=1)]
Factors = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class Eszsl(FitModel):
    """Attribute-based zero-shot classifier in closed form (ESZSL, Romera-Paredes & Torr 2015) with
    calibrated stacking (Chao et al. 2016). Its constants are chosen by holding out seen classes as
    if they were unseen."""

    kind: Literal["eszsl"]
    descriptions: str
    """CSV file: a header `class,ATTRIBUTE…`, then a row a class, also for classes without any
    label."""
    encoder: str | None = None
    """A sentence-transformers model (as `model` of a ready labeler): the file then has one text a
    class, whose embedding its attributes are."""
    feature_ridges: Factors = (0.003, 0.03, 0.3)
    """Candidates for γ of the feature side, a row."""
    attribute_ridges: Factors = (0.1, 1.0, 10.0)
    """Candidates for λ of the attribute side."""
    calibrations: Candidates = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
    """Candidates for what calibrated stacking takes off the scores of seen classes."""
    scales: Factors = (4.0, 8.0, 16.0, 32.0)
    """Candidates for the factor that turns scores into logits."""
    seed: Seed = 0
    """Of which classes are held out together, and of which rows are sampled to choose the constants
    on, where there are too many for all."""


# what of a training changes how it runs and not what is learned: not part of a digest
NOT_LEARNED = frozenset(
    {
        "workers",
        "gpus",
        "checkpoint_epochs",
        "checkpoint_steps",
        "cache_gb",
        "accumulate_batches",
        "activation_checkpoints",
    }
)
# options of a training that came later, and what they say of models from before
USUAL_TRAINING: Mapping[str, Any] = {
    "warmup_fraction": 0.0,
    "clip_norm": None,
    "precision": "float32",
    "gradients": "workers",
    "compile": False,
    "head_learning_rate": None,
    "layer_decay": 1.0,
    "decayed": "all",
    "batch_norm": None,
    "tokens": None,
    "augment": None,
    "private": None,
}


USUAL_WORKERS = 2  # data-parallel processes on Ray, where a job does not say how many


def worker_range(workers: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return the fewest and the most workers on Ray, of what a job says of them."""
    if isinstance(workers, tuple):
        return workers
    number = workers or USUAL_WORKERS
    return (number, number)


class Training(Table):
    """How a network is trained by gradients."""

    epochs: Annotated[int, Field(ge=1, le=10_000_000)] = 20
    """Passes over the rows it learns from."""
    batch_rows: BatchRows = 256
    """Rows of a global batch, over all workers."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    # 3.4e38: what float32 can hold
    learning_rate: Annotated[float, Field(gt=0, le=3.4e38)] = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate falls, to 0, after the warm-up."""
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of all steps: while it rises from 0."""
    head_learning_rate: Annotated[float, Field(gt=0, le=3.4e38)] | None = None
    """Of heads, on whatever schedule; networks below them learn at `learning_rate`. Default: the
    same."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer below the heads learns at this share of the rate of the one above it (ELECTRA,
    Clark et al. 2020), so that what a network knew is changed least where it is most general."""
    weight_decay: Annotated[float, Field(ge=0, le=3.4e38)] = 0.0
    decayed: Literal["all", "matrices"] = "all"
    """What `weight_decay` is for: all parameters, or none of biases and norms."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """The most that a step's whole gradient may measure; a larger one is scaled down to it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's matrix products; weights, losses and sums stay float32."""
    gradients: Literal["workers", "lanes"] = "workers"
    """`lanes`: lane by lane, summed in a fixed order, so that any number of workers gives the same
    weights to the last bit, and memory holds one lane."""
    accumulate_batches: Positive = 1
    """Parts in which a worker takes its share of a batch, one after another, before it moves:
    memory holds one. Not part of a student's digest; the last bits differ, as with other workers."""
    activation_checkpoints: bool = False
    """Whether layers are computed again on the way back, where the network's modules offer that, so
    that memory need not hold what is between them. Not part of a student's digest."""
    batch_norm: Literal["sync", "frozen"] | None = None
    """Of networks with BatchNorm: statistics of a whole step's rows, all workers' together (with
    `gradients = "lanes"`: of each lane's rows, so that any number of workers gives the same), or
    `frozen` as they are when the training begins. Default: such networks are refused."""
    tokens: Positive | None = None
    """For text: the most tokens, or n-grams, of a lane that are computed at once, padding counted.
    Texts of like length then come together, padded to the longest of them, and a batch of
    `batch_rows` is computed in as many parts as that takes. Default: all texts are padded to the
    most that the network reads."""
    augment: Augment | None = None
    """How images are altered while they are learned from, otherwise in each epoch, by seeds of
    (seed, epoch, row); neither those that say when to stop nor those that judge. Default: not."""
    private: Private | None = None
    """By noisy gradients, which promise (ε, δ) to each row (DP-SGD). Default: nothing is promised."""
    compile: bool = False
    """Whether torch compiles the network first: some seconds that long trainings win back."""
    lanes: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Fixed streams that make a global batch; a number of workers must divide it."""
    checkpoint_epochs: Positive = 10
    """A checkpoint every so many epochs."""
    checkpoint_steps: Positive | None = None
    """And one every so many steps, where an epoch is long."""
    workers: Positive | tuple[Positive, Positive] | None = None
    """Data-parallel processes, or `[min, max]` of them: as many as the cluster has room for, fewer
    when a node is lost, more when one comes. Each change goes on from the newest checkpoint
    (`checkpoint_steps`). Not part of a student's digest. Default: 2 on Ray, 1 locally; of a
    `fit` that takes one core some seconds the driver alone, unless a cluster was joined."""
    gpus: Gpus = "auto"
    """GPUs a worker."""
    cache_gb: Annotated[float, Field(ge=0)] = 10.0
    """Gigabytes of its own disk that a worker may fill with decoded rows of pools and label sets
    that lie elsewhere (`s3://`), so that later epochs read nothing there; 0 for none. Below
    `DISTILL_CACHE`, or else the machine's temporary folder. Not part of a student's digest."""

    @property
    def is_one_group(self) -> bool:
        """Whether all parameters learn at one rate and with one decay."""
        same_rate = self.head_learning_rate is None and self.layer_decay == 1
        return same_rate and self.decayed == "all"


class Learns(Table):
    """What a term learns from, or a held-out measure is taken against."""

    learns: str
    """`labels.NAME`, or `pools.NAME` for that pool's target."""

    @field_validator("learns")
    @classmethod
    def _source(cls, value: str) -> str:
        kind, _, name = value.partition(".")
        if kind not in ("labels", "pools") or not name:
            raise ValueError(f"{value!r} is neither 'labels.NAME' nor 'pools.NAME'")
        return value

    @property
    def label_set(self) -> str | None:
        """The label set; None for a target."""
        return self.learns.removeprefix("labels.") if self.learns.startswith("labels.") else None

    @property
    def pool(self) -> str | None:
        """The pool whose target it is; None for a label set."""
        return self.learns.removeprefix("pools.") if self.learns.startswith("pools.") else None


class EarlyStop(Learns):
    """Training stops when a measure on rows that are not trained on gets no better; the weights of
    its best epoch are kept. `epochs` is then the most."""

    patience: Positive = 3
    """Epochs without a better measure until it stops."""
    least: Annotated[float, Field(ge=0)] = 0.0
    """By how much the measure must fall to be better."""
    every_epochs: Positive = 1
    """It is measured after every so many epochs, and after the last."""


class LabelFeatures(Table):
    """The numbers that a label set has of a row, in place of the pool's own columns: an embedding
    is paid for once, and taught as often as one likes."""

    kind: Literal["labels"]
    of: str
    """`labels.NAME`."""

    @field_validator("of")
    @classmethod
    def _label_set(cls, value: str) -> str:
        if not value.removeprefix("labels.") or not value.startswith("labels."):
            raise ValueError(f"{value!r} is not 'labels.NAME'")
        return value

    @property
    def label_set(self) -> str:
        """The label set."""
        return self.of.removeprefix("labels.")


class Fit(Table):
    """`[fit.NAME]`: train a labeler before it labels."""

    model: FitModel
    on: str
    """The labelled pool."""
    features: LabelFeatures | None = None
    """What it sees of a row. Default: the pool's features."""
    training: Training = Training()
    """For networks."""
    early_stop: EarlyStop | None = None
    """For networks, by the target of another pool. Default: all epochs are trained, and the last
    one's weights kept."""
    teachers: Teachers | None = None
    """For networks: several, each on rows of its own, whose noisy votes a labeler of kind `pate`
    counts. Default: one, on all rows."""
    seed: Seed | None = None
    """Default: the job's."""
