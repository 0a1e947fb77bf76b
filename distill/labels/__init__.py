"""The label store: contract, encoding, commit, manifest. Torch-free and Ray-free, so that any
machine with pyarrow can read labels.

`open` is for readers; what distill itself needs is imported from the modules.
"""

from __future__ import annotations

from distill.labels.reader import open_labels as open

__all__ = ["open"]
