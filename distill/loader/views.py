"""Views of an image: the labeler answers each row as it is and `count` times altered, and the student
sees the same alterations while it learns from those answers (TinyViT, Wu et al. 2022; FKD, Shen and
Xing 2022).

What is altered how is a pure function of (seed, view, shard, row), so nothing of an image is stored
beside its answers: the contract holds the seed and the table of alterations, and whoever reads the
labels makes the same pixels.

    epoch e sees view 1 + (e mod count)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.labels.contract import Contract
from distill.models.augment import Augmentation, Images, row_seeds
from distill.spec.augment import Augment

Numbers = npt.NDArray[np.int64]

_ROW_BITS = 40
"""Of a row's address; above them stands the number of its shard."""


@dataclass(frozen=True)
class Views:
    """How the views of a label set are made."""

    count: int
    seed: int
    augment: Augment

    @classmethod
    def of_contract(cls, contract: Contract) -> Views | None:
        """Return the views that a label set has; None where it has none."""
        if not contract.views:
            return None
        table = json.loads(contract.view_augment)
        augment = Augment.model_validate(table)
        return cls(contract.views, contract.view_seed, augment)

    @property
    def numbers(self) -> range:
        """The views, as columns are named by them; 0 would be the row as it is."""
        return range(1, 1 + self.count)

    def of_epoch(self, epoch: int) -> int:
        """Return the view that a student sees in an epoch."""
        return 1 + epoch % self.count

    def alter(self, images: Images, view: int, shards: Numbers, rows: Numbers) -> Images:
        """Return images (B, H, W, C) as one view has them; `rows` (B,) are their numbers within
        their `shards` (B,)."""
        addresses = (shards << _ROW_BITS) | rows
        seeds = row_seeds(self.seed, view, addresses)
        return self._augmentation(images, seeds)

    @cached_property
    def _augmentation(self) -> Augmentation:
        return Augmentation(self.augment)
