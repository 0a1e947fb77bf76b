"""What every engine owes to the stages, asked of both."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from distill.core.errors import LabelerError, ResourceError, TrainingError, UnlearnableError
from distill.engine.select import engine_of
from distill.spec.labels import Compute
from tests.engine.working import Bar, doubling, giving_up, raise_in_work, squares, unbuildable


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def engine(request):
    if request.param == "ray":
        request.getfixturevalue("ray")
    return engine_of(request.param)


def test_a_task_has_no_result_or_two(engine, tmp_path):
    groups = [[{"number": number}, {"number": number + 1}] for number in range(0, 12, 2)]
    config = {"mark": str(tmp_path / "mark"), "fatal": -1}
    results = list(engine.map(doubling, config, groups, Compute(), Bar()))
    assert sorted(result["twice"] for result in results) == [2 * number for number in range(12)]


def test_a_map_that_is_closed_early_ends_the_process(engine, tmp_path):
    config = {"mark": str(tmp_path / "mark"), "fatal": -1}
    groups = [[{"number": number}] for number in range(50)]
    with closing(engine.map(doubling, config, groups, Compute(), Bar())) as results:
        assert next(results)["twice"] % 2 == 0


def test_a_worker_that_cannot_be_built_is_no_labeler_error(engine):
    with pytest.raises(LabelerError, match="no weights at /nowhere"):
        list(engine.map(unbuildable, "/nowhere", [[{"number": 1}]], Compute(), Bar()))


@pytest.mark.ray
def test_sums_differ_between_engines_in_their_last_bits(ray):
    """Of matrices, by BLAS: 777 rows of 333 numbers have other last bits on two threads."""
    items = list(range(300))
    local, there = (
        engine_of(name).fold("sum", squares, items, np.add) for name in ("local", "ray")
    )
    assert local.tobytes() == there.tobytes()


def test_an_error_in_a_fold_comes_as_another(engine):
    def fail(item):
        raise ValueError(f"bad item {item}")

    with pytest.raises(ValueError, match="bad item 7"):
        engine.fold("sum", fail, [7], max)


def test_a_call_has_no_result(engine):
    assert engine.call(lambda: 7) == 7


def test_a_part_that_is_given_up_stops_the_others_or_is_forgotten(engine):
    bar = Bar()
    with pytest.raises(UnlearnableError, match=r"^students\.a: no rows\nstudents\.c: no classes$"):
        engine.train(giving_up, {}, workers=(1, 1), gpus="auto", bar=bar)
    assert (bar.amount, bar.notes[-1]) == (12, "b is done")


def test_a_mistake_in_the_work_is_shown_without_its_lines():
    """Here; on Ray of two ranks, in tests/engine/ray/test_train.py."""
    engine = engine_of("local")
    with pytest.raises(
        TrainingError, match=r"(?s)^training raised on rank 0:\n.*read_column.*KeyError: 'pixels'"
    ) as raised:
        engine.train(raise_in_work, "pixels", workers=1, gpus="auto", bar=Bar())
    assert not isinstance(raised.value, UnlearnableError)


def test_what_an_engine_can_never_give_is_begun(engine):
    with pytest.raises(ResourceError, match=r"compute\.gpus|1 GPU"):
        next(engine.map(doubling, {}, [[{"number": 1}]], Compute(gpus=1), Bar()))
    with pytest.raises(ResourceError, match=r"training\.workers = 64|64 × 1 CPU"):
        engine.train(giving_up, {}, workers=64, gpus=0, bar=Bar())
