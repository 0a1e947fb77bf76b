"""The kinds of labelers that come with distill; importing this module registers them."""

from __future__ import annotations

from distill.labelers.embedding import Embedding
from distill.labelers.kind import LabelerKind
from distill.labelers.nli import Nli
from distill.labelers.onnx import OnnxLabelerTable
from distill.labelers.sequence_classifier import SequenceClassifier
from distill.labelers.similarity import Similarity
from distill.labelers.sklearn import Sklearn
from distill.labelers.student import StudentLabeler
from distill.labelers.timm import TimmClassifier

BUILT_IN: tuple[type[LabelerKind], ...] = (
    Sklearn,
    SequenceClassifier,
    Nli,
    Similarity,
    Embedding,
    StudentLabeler,
    TimmClassifier,
    OnnxLabelerTable,
)
