"""The label store: contract, encoding, commit, manifest. Torch-free and Ray-free, so that any machine with pyarrow can read labels."""

from __future__ import annotations

from distill.labels.commit import Claim, Commit, Line, Origin, columns_sha256, commit_key, read_rejects, write_fragment
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, SoftLabels, TopKLabels, decode, encode, label_schema, storable
from distill.labels.label_set import SEGMENT_COMMITS, LabelSet, label_set_digest, label_set_folder

__all__ = [
    "SEGMENT_COMMITS",
    "Claim",
    "Commit",
    "Contract",
    "DenseLabels",
    "LabelSet",
    "Line",
    "Origin",
    "SoftLabels",
    "TopKLabels",
    "columns_sha256",
    "commit_key",
    "decode",
    "encode",
    "label_schema",
    "label_set_digest",
    "label_set_folder",
    "read_rejects",
    "storable",
    "write_fragment",
]
