"""Which of some given classes are likely wrong, by what a model says of the rows: confident learning
(Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR
70, §3.1).

Of each class j the threshold t_j is the mean probability that the model gives it on rows that are
given as j: how sure it usually is of that class. A row is *confidently* of class j where p_j ≥ t_j,
of the likeliest such class where several are. A row that is given as i and confidently of another
class is suspect (the off-diagonal of the confident joint), unless the model's likeliest class is the
given one, as cleanlab has it too. What is most suspect comes first by the normalised margin,
p_j − p_i.

The model should not have learned these rows: what it knows by heart it finds right. Both passes are
sums over rows, so they are folds like any other.

Shapes: B rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

_ROUNDING = 1e-6  # by which a probability may lie below its threshold: labels are stored rounded
NOBODY = -1


@dataclass(frozen=True)
class ClassSums:
    """Rows by given class (C,), and the sum of the probabilities of that class on them (C,)."""

    rows: Array
    sure: Array

    @classmethod
    def of(cls, probabilities: Array, given: Classes) -> ClassSums:
        """Return the sums of some rows, (B, C) and (B,)."""
        classes = probabilities.shape[1]
        own = probabilities[np.arange(len(given)), given]
        rows = np.bincount(given, minlength=classes).astype(np.float64)
        sure = np.bincount(given, own, minlength=classes).astype(np.float64)
        return cls(rows, sure)

    def __add__(self, other: ClassSums) -> ClassSums:
        return ClassSums(self.rows + other.rows, self.sure + other.sure)

    @property
    def thresholds(self) -> Array:
        """(C,): t_j; infinite of a class that no row is given as, so that no row is taken for it."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.rows > 0, self.sure / self.rows, np.inf)


def confident_classes(probabilities: Array, thresholds: Array) -> Classes:
    """Return the class that each row is confidently of (B,); `NOBODY` where it is of none."""
    is_confident = probabilities >= thresholds - _ROUNDING
    among = np.where(is_confident, probabilities, -1.0)
    likeliest: Classes = among.argmax(axis=1)
    return np.where(is_confident.any(axis=1), likeliest, NOBODY)


def suspects(probabilities: Array, given: Classes, thresholds: Array) -> tuple[Classes, Array]:
    """Return the class that each row is suspected to be of (B,), `NOBODY` where its own is not
    suspect, and how suspect it is (B,): p_j − p_i."""
    confident = confident_classes(probabilities, thresholds)
    likeliest = probabilities.argmax(axis=1)
    is_suspect = (confident != NOBODY) & (confident != given) & (likeliest != given)
    line = np.arange(len(given))
    margin = probabilities[line, np.maximum(confident, 0)] - probabilities[line, given]
    return np.where(is_suspect, confident, NOBODY), np.where(is_suspect, margin, -np.inf)
