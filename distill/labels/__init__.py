"""The label store: contract, encoding, commit, manifest. Torch-free and Ray-free, so that any machine with pyarrow can read labels."""

from __future__ import annotations

from distill.labels.commit import Claim, Commit, Origin, read_rejects, write_fragment
from distill.labels.contract import Contract
from distill.labels.data import data_bytes, read_data, with_keys
from distill.labels.encoding import DenseLabels, SoftLabels, TopKLabels, decode, encode, label_schema, storable
from distill.labels.identity import label_set_digest, label_set_folder
from distill.labels.label_set import CONTRACT, LabelSet
from distill.labels.lease import hold_lease
from distill.labels.left import Left
from distill.labels.manifest import Line, Manifest, commit_key
from distill.labels.reader import StoredLabels
from distill.labels.reader import open_labels as open
from distill.labels.segments import SEGMENT_LINES
from distill.labels.whole import what_is_wrong

__all__ = [
    "CONTRACT",
    "SEGMENT_LINES",
    "Claim",
    "Commit",
    "Contract",
    "DenseLabels",
    "LabelSet",
    "Left",
    "Line",
    "Manifest",
    "Origin",
    "SoftLabels",
    "StoredLabels",
    "TopKLabels",
    "commit_key",
    "data_bytes",
    "decode",
    "encode",
    "hold_lease",
    "label_schema",
    "label_set_digest",
    "label_set_folder",
    "open",
    "read_data",
    "read_rejects",
    "storable",
    "what_is_wrong",
    "with_keys",
    "write_fragment",
]
