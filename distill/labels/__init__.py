"""The label store: contract, encoding, commit, manifest. Torch-free and Ray-free, so that any machine with pyarrow can read labels."""

from __future__ import annotations

from distill.labels.commit import Claim, Commit, Line, Origin, commit_key, read_rejects, write_fragment
from distill.labels.contract import Contract
from distill.labels.data import columns_sha256, data_bytes, read_data, with_keys
from distill.labels.encoding import DenseLabels, SoftLabels, TopKLabels, decode, encode, label_schema, storable
from distill.labels.label_set import SEGMENT_COMMITS, LabelSet, label_set_digest, label_set_folder
from distill.labels.reader import StoredLabels
from distill.labels.reader import open_labels as open

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
    "StoredLabels",
    "TopKLabels",
    "columns_sha256",
    "commit_key",
    "data_bytes",
    "decode",
    "encode",
    "label_schema",
    "label_set_digest",
    "label_set_folder",
    "open",
    "read_data",
    "read_rejects",
    "storable",
    "with_keys",
    "write_fragment",
]
