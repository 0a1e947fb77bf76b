"""The job file: one TOML that says everything, as frozen pydantic models. `load_job` is the way in; `Job` is the truth.

A job is checked whole before anything runs: each table by itself (`pools`, `models`, `labels`, `students`), then what the tables
say of each other (`check`), then, by the stages, what storage says of the pools. A sweep (`sweep`) is resolved into students here,
so the stages only ever see students.
"""

from __future__ import annotations

from distill.job.labels import Compute, Custom, Dense, Ensemble, Fitted, Labels, TopK, Value
from distill.job.load import Job, load_job
from distill.job.models import (
    Cnn,
    CustomModel,
    EarlyStop,
    Eszsl,
    Fit,
    Linear,
    Mlp,
    Network,
    NgramBag,
    Ngrams,
    Rnn,
    Training,
    ngrams_of,
)
from distill.job.outputs import Outputs, head_outputs, label_outputs, labeler_outputs, pool_outputs
from distill.job.pools import Features, Format, ImageFeatures, Pool, TextFeatures, VectorFeatures
from distill.job.ready import (
    Embedding,
    Nli,
    Ready,
    SequenceClassifier,
    Similarity,
    Sklearn,
    StudentLabeler,
)
from distill.job.students import MAIN, Evaluate, Head, Student, Term
from distill.job.sweep import Sweep, Variant

__all__ = [
    "MAIN",
    "Cnn",
    "Compute",
    "Custom",
    "CustomModel",
    "Dense",
    "EarlyStop",
    "Embedding",
    "Ensemble",
    "Eszsl",
    "Evaluate",
    "Features",
    "Fit",
    "Fitted",
    "Format",
    "Head",
    "ImageFeatures",
    "Job",
    "Labels",
    "Linear",
    "Mlp",
    "Network",
    "NgramBag",
    "Ngrams",
    "Nli",
    "Outputs",
    "Pool",
    "Ready",
    "Rnn",
    "SequenceClassifier",
    "Similarity",
    "Sklearn",
    "Student",
    "StudentLabeler",
    "Sweep",
    "Term",
    "TextFeatures",
    "TopK",
    "Training",
    "Value",
    "Variant",
    "VectorFeatures",
    "head_outputs",
    "label_outputs",
    "labeler_outputs",
    "load_job",
    "ngrams_of",
    "pool_outputs",
]
