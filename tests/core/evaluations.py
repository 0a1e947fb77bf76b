"""Evaluations of a few methods, made of plain values."""

from __future__ import annotations

from distill.core.results import Evaluation, LabelSetResult, MethodResult


def method(
    name,
    role="student",
    group=None,
    *,
    terms=("labels.large",),
    seed=None,
    parameters=100,
    milliseconds=1.0,
    **measures,
):
    return MethodResult(
        name=name,
        role=role,
        group=group or name,
        taught_by=terms,
        changes={} if seed is None else {"seed": seed},
        parameters=parameters,
        milliseconds_per_row=milliseconds,
        measures=measures,
        confusion=[[1, 0], [0, 1]],
        reliability=[{"confidence": 0.5, "accuracy": 0.5, "rows": 2.0}],
        history=[{"epoch": 1, "loss": 0.5}],
    )


def evaluation(*methods, kind="exclusive"):
    return Evaluation(
        job="digits",
        job_text="root = 'x'",
        pool="test",
        rows=1234,
        left_out=0,
        kind=kind,
        classes=("a", "b"),
        seen=("a",),
        teacher="labels.large",
        methods=methods,
        label_sets=(LabelSetResult("large", 1, "test", 10, 1, 2, 300),),
        versions={"numpy": "2"},
    )


TEACHER = method("large", "teacher", parameters=1000, milliseconds=3.0, accuracy=0.99)


def over_seeds(name, terms, values, measure="accuracy", seeds=range(9)):
    return [
        method(f"{name}[seed={seed}]", group=name, terms=terms, seed=seed, **{measure: value})
        for seed, value in zip(seeds, values, strict=False)
    ]
