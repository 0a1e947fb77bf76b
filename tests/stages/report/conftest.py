"""Evaluations as a job would leave them, made of nothing but plain values."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace

import numpy as np
import pytest

from distill.core.results import Evaluation, LabelSetResult, MethodResult

DIGITS = tuple("0123456789")
VERSIONS = {
    "distill": "0.1.0",
    "python": "3.11.7",
    "torch": "2.9.1",
    "ray": "2.60.0",
    "numpy": "2.3.4",
}
HOSTILE = "<script>alert(1)</script>"


def _history(level: float, epochs: int, number: int) -> list[dict]:
    drawn = np.random.default_rng(number).normal(0, 0.01, epochs)
    losses = [level + 2 * math.exp(-epoch / 4) + abs(drawn[epoch]) for epoch in range(epochs)]
    return [
        {"epoch": epoch + 1, "loss": loss, "terms": [loss]} for epoch, loss in enumerate(losses)
    ]


def _reliability(accuracy: float) -> list[dict]:
    bins = [(number + 0.5) / 15 for number in range(3, 15)]
    return [
        {"confidence": bin_, "accuracy": min(1.0, bin_ * accuracy + 0.05), "rows": 30.0}
        for bin_ in bins
    ]


def _confusion(classes: int, right: float, number: int) -> list[list[int]]:
    random = np.random.default_rng(number)
    made = np.zeros((classes, classes), dtype=int)
    for truth in range(classes):
        wrong = np.full(classes, (1 - right) / max(classes - 1, 1))
        wrong[truth] = right if classes > 1 else 1.0
        made[truth] = random.multinomial(36, wrong)
    return made.tolist()


def _measures(accuracy: float, unseen: float | None) -> dict[str, float]:
    made = {"accuracy": accuracy, "nll": 1.3 - accuracy, "calibration_error": (1 - accuracy) / 3}
    if unseen is not None:
        seen = min(accuracy + (accuracy - unseen) * 0.25, 1.0)
        made |= {
            "accuracy_seen": seen,
            "accuracy_unseen": unseen,
            "harmonic_mean": 2 * seen * unseen / (seen + unseen),
        }
    return made | {"agreement": accuracy * 0.98}


def method(
    name: str, accuracy: float, unseen: float | None = None, **given: object
) -> MethodResult:
    number = zlib.crc32(name.encode())
    plain: dict = {
        "name": name,
        "role": "student",
        "group": name,
        "taught_by": ("1 · kl at T=4 to labels.large",),
        "changes": {},
        "parameters": 1_562,
        "milliseconds_per_row": 0.0021,
        "measures": _measures(accuracy, unseen),
        "confusion": _confusion(10, accuracy, number),
        "reliability": _reliability(accuracy),
        "history": _history(1 - accuracy, 20, number),
    }
    return MethodResult(**{**plain, **given})


def seeds(
    name: str, accuracy: float, unseen: float | None = None, **given: object
) -> list[MethodResult]:
    """Three seeds of one student; `changes` may hold what a sweep changed beside them."""
    changes: dict = given.pop("changes", {})  # type: ignore[assignment]
    said = ",".join(f"{path}={value}" for path, value in changes.items())
    group = f"{name}[{said}]" if said else name
    return [
        method(
            f"{group}, seed {seed}",
            accuracy + 0.004 * (seed - 2),
            None if unseen is None else max(unseen + 0.01 * (seed - 2), 0.0),
            group=group,
            changes={**changes, "seed": seed},
            **given,
        )
        for seed in (1, 2, 3)
    ]


def _label_sets() -> tuple[LabelSetResult, ...]:
    return (
        LabelSetResult("large", 1, "unlabelled", 1_200_000, 37, 24, 23_456_789),
        LabelSetResult("large", 1, "test", 360, 0, 1, 9_120),
        LabelSetResult("zero_shot", 2, "unlabelled", 1_200_000, 37, 24, 48_000_123),
    )


@pytest.fixture
def digits() -> Evaluation:
    """Classes the teacher never saw, three seeds a student, and a grid of λ and temperature."""
    teacher = method(
        "large",
        0.793,
        0.0,
        role="teacher",
        parameters=184_330,
        milliseconds_per_row=0.0874,
        taught_by=("pools.labelled",),
    )
    zero_shot = method(
        "zero_shot",
        0.655,
        0.52,
        role="labeler",
        parameters=None,
        milliseconds_per_row=0.0102,
        history=(),
        taught_by=(),
    )
    students = [
        *seeds("labels_only", 0.741, 0.0),
        *seeds("distilled", 0.772, 0.0, parameters=2_410),
    ]
    for temperature in (1, 4):
        for number, weight in enumerate((0.0, 0.1, 0.3, 1.0)):
            students += seeds(
                "combined",
                0.78 + 0.03 * number - 0.012 * number**2 + 0.004 * temperature,
                0.1 + 0.16 * number + 0.01 * temperature,
                changes={"terms.1.weight": weight, "terms.0.loss.temperature": temperature},
                taught_by=(
                    f"1 · kl at T={temperature} to labels.large",
                    f"{weight} · cross entropy to labels.zero_shot",
                ),
                parameters=3_000,
            )
    return Evaluation(
        job="digits",
        job_text='root = "runs/digits"\n\n[pools.unlabelled]\npath = "pool/"  # <unlabelled>\n'
        + "[labels.large]\n" * 12,
        pool="test",
        rows=357,
        left_out=3,
        kind="exclusive",
        classes=DIGITS,
        seen=DIGITS[:8],
        teacher="labels.large",
        methods=(teacher, zero_shot, *students),
        label_sets=_label_sets(),
        versions=VERSIONS,
    )


@pytest.fixture
def binary(digits: Evaluation) -> Evaluation:
    """Independent outputs; no confusion, no unseen classes, no second seed."""
    given: dict = {"confusion": None}
    methods = (
        method(
            "large", 0.912, role="teacher", parameters=50_000, milliseconds_per_row=0.02, **given
        ),
        method("labels_only", 0.871, **given),
        method("distilled", 0.9, **given),
    )
    return replace(
        digits,
        job="tags",
        kind="independent",
        classes=("cat", "dog"),
        seen=("cat", "dog"),
        methods=methods,
    )


@pytest.fixture
def values(digits: Evaluation) -> Evaluation:
    """Regression: MSE leads, a linear student, λ swept on its own over a wide range."""

    def one(name: str, mse: float, **given: object) -> list[MethodResult]:
        said = {"mse": mse, "mae": mse**0.5 * 0.8, "r2": 1 - mse, "mse_to_teacher": mse * 0.4}
        made = seeds(name, 0.9, confusion=None, reliability=(), **given)
        return [
            replace(each, measures={**said, "mse": mse * (1 + 0.02 * i)})
            for i, each in enumerate(made)
        ]

    teacher = replace(
        one("large", 0.083)[0], role="teacher", name="large", changes={}, parameters=80_000
    )
    swept = [
        one("linear", 0.2 + abs(math.log10(w)) / 50, changes={"terms.0.weight": w})
        for w in (0.01, 0.1, 1.0, 10.0)
    ]
    methods = (teacher, *one("truth_only", 0.31), *[each for group in swept for each in group])
    return replace(digits, job="houses", kind="value", classes=(), seen=(), methods=methods)


@pytest.fixture
def hostile(digits: Evaluation) -> Evaluation:
    """Names that would be markup, mathtext, or nothing at all to matplotlib."""
    names = (
        HOSTILE,
        '"><img src=x onerror=alert(2)>',
        "$\\frac{1}{$",
        "_hidden",
        "学生 \u2603",
        "x" * 90,
    )
    methods = [
        method(name, 0.9 - 0.05 * number, taught_by=(HOSTILE,)) for number, name in enumerate(names)
    ]
    methods[1] = replace(methods[1], role="teacher", parameters=20_000)
    classes = (HOSTILE, "$x^$", *DIGITS[2:])
    changed = [
        replace(methods[2], group=f"{HOSTILE}[{HOSTILE}={n}]", changes={HOSTILE: n}) for n in (1, 2)
    ]
    return replace(
        digits,
        job=HOSTILE,
        job_text=f"# {HOSTILE}",
        pool=HOSTILE,
        classes=classes,
        seen=classes,
        methods=(*methods, *changed),
        label_sets=(LabelSetResult(HOSTILE, 1, HOSTILE, 1, 0, 1, 1),),
        versions={HOSTILE: HOSTILE},
    )


@pytest.fixture
def alone(digits: Evaluation) -> Evaluation:
    """One student and nothing to hold it against."""
    return replace(
        digits,
        job="alone",
        teacher=None,
        seen=DIGITS,
        methods=(method("only", 0.8),),
        label_sets=(),
    )


@pytest.fixture
def labels_alone(digits: Evaluation) -> Evaluation:
    """A job that trains no student."""
    return replace(
        digits,
        job="labels",
        methods=tuple(each for each in digits.methods if each.role != "student"),
    )


@pytest.fixture
def study(digits: Evaluation) -> Evaluation:
    """45 students × 3 seeds and 40 classes."""
    names = [
        f"{form}_{source}_{size}"
        for form in ("mlp", "linear", "cnn")
        for source in ("labels", "kl", "kl_t4", "combined", "zero_shot")
        for size in (16, 64, 256)
    ]
    methods = list(digits.methods[:2])
    for number, name in enumerate(names):
        size = 900 * (1 + number % 3) ** 3 * (1 + number // 15)
        methods += seeds(
            name,
            0.6 + 0.3 * math.sin(number) ** 2,
            0.3 + number / 200,
            parameters=size,
            confusion=None,
        )
    classes = tuple(f"class_{number}" for number in range(40))
    return replace(digits, job="study", classes=classes, seen=classes[:30], methods=tuple(methods))
