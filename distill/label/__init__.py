"""`distill label`: a labeler's word over pools, as label sets, exactly once.

The stage lists the pool, holds stored commits against stored data, and hands what is left to the engine, fragment by fragment. Each
fragment commits itself from the actor that labelled it, so the stage only watches: kill it anywhere, run it again, and it labels what
is missing.
"""

from __future__ import annotations

from distill.label.canary import check_canaries
from distill.label.preview import Preview, preview_labels
from distill.label.stage import LabelSummary, label_pool

__all__ = ["LabelSummary", "Preview", "check_canaries", "label_pool", "preview_labels"]
