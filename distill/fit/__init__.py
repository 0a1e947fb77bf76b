"""`distill fit`: labelers that are fitted by passes of sums over labelled rows. (Networks are fitted by `distill.train`.)"""

from __future__ import annotations

from distill.fit.stage import fit_labeler

__all__ = ["fit_labeler"]
