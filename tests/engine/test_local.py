from __future__ import annotations

import threading
from contextlib import closing

import pytest
from threadpoolctl import threadpool_info

from distill.core.errors import LabelerError, ResourceError, StorageError, TrainingError
from distill.engine.local import LocalEngine
from distill.engine.stop import finish_and_stop
from distill.spec.labels import Compute
from tests.engine.working import Bar

ENGINE = LocalEngine()


def tasks(count):
    return [[{"number": number}] for number in range(count)]


def recording(seen, device, stream):
    """A worker that leaves what it does in `seen`."""
    seen.append((device, stream.threads))

    def work(task):
        seen.append((task["number"], threading.current_thread()))
        return task

    return work


def blas_threads():
    return {library["num_threads"] for library in threadpool_info()}


def test_user_code_runs_in_another_thread_or_runs_ahead_of_who_takes_results():
    seen = []
    taken = []

    def groups():
        for group in tasks(3):
            taken.append(len(seen))
            yield group

    with closing(ENGINE.map(recording, seen, groups(), Compute(), Bar())) as results:
        assert not seen, "built before the first result was asked for"
        assert next(results) == {"number": 0}
        assert seen == [("cpu", False), (0, threading.current_thread())]
        assert taken == [1]
        assert list(results) == [{"number": 1}, {"number": 2}]
    assert [number for number, _ in seen[1:]] == [0, 1, 2]


def test_a_closed_map_goes_on_or_leaves_ctrl_c_to_nobody():
    seen = []
    with closing(ENGINE.map(recording, seen, tasks(9), Compute(), Bar())) as results:
        next(results)
    assert len(seen) == 2
    assert not finish_and_stop()


def test_a_mistake_in_the_making_of_a_worker_is_no_labeler_error():
    def broken(config, device, stream):
        raise KeyError(config)

    with pytest.raises(LabelerError, match=r"(?s)cannot be built.*in broken.*KeyError: 'weights'"):
        next(ENGINE.map(broken, "weights", tasks(1), Compute(), Bar()))


def test_a_store_that_fails_while_a_worker_is_built_is_a_traceback():
    def broken(config, device, stream):
        raise StorageError("no weights. Put them back.")

    with pytest.raises(LabelerError, match=r"cannot be built: no weights\. Put them back\.$"):
        next(ENGINE.map(broken, None, tasks(1), Compute(), Bar()))


@pytest.mark.parametrize(
    ("compute", "named"),
    [
        (Compute(gpus=0.5), r"compute\.gpus = 0\.5"),
        (Compute(min=2, max=2), r"compute\.min = 2"),
        (Compute(prepare_on="cluster"), r'compute\.prepare_on = "cluster"'),
    ],
)
def test_what_only_ray_gives_is_done_otherwise_without_a_word(compute, named):
    with pytest.raises(ResourceError, match=rf"{named}.*only Ray.*without --local"):
        next(ENGINE.map(recording, [], tasks(1), compute, Bar()))


@pytest.mark.parametrize(
    ("workers", "named"), [(2, "= 2:"), ((2, 2), "= 2:"), ((2, 4), "= .2, 4.:")]
)
def test_a_fixed_number_of_workers_is_changed_without_a_word(workers, named):
    with pytest.raises(
        ResourceError, match=rf"training\.workers {named}.*Set training.workers = 1"
    ):
        ENGINE.train(print, {}, workers=workers, gpus="auto", bar=Bar())


def test_a_gpu_for_training_is_left_out_without_a_word():
    with pytest.raises(ResourceError, match=r"training\.gpus = 1:"):
        ENGINE.train(print, {}, workers=1, gpus=1, bar=Bar())


@pytest.mark.parametrize("workers", [1, (1, 1), (1, 8), None])
def test_a_range_from_one_or_a_number_nobody_chose_is_refused(workers):
    def work(config, context):
        return config, context.rank, context.workers, context.device, context.team, context.teams

    result = ENGINE.train(work, "plan", workers=workers, teams=3, gpus="auto", bar=Bar())
    assert result == ("plan", 0, 1, "cpu", 0, 1)


def test_what_is_done_again_is_counted_twice():
    bar = Bar()

    def work(config, context):
        for part, done in (
            ("one", 0.0),
            ("one", 100.0),
            ("two", 50.0),
            ("one", 80.0),
            ("one", 120.0),
        ):
            context.say(part, done, f"{part} {done:g}")

    ENGINE.train(work, {}, workers=1, gpus=0, bar=bar)
    assert bar.amount == 170
    assert bar.notes == ["one 100", "two 50", "one 80", "one 120"]


def test_an_error_hides_what_was_given_up_or_loses_its_cause():
    def work(config, context):
        context.give_up("students.a", "no rows")
        raise StorageError("the store is gone. Bring it back.")

    with pytest.raises(TrainingError) as raised:
        ENGINE.train(work, {}, workers=1, gpus=0, bar=Bar())
    assert str(raised.value) == "the store is gone. Bring it back.\nstudents.a: no rows"
    assert isinstance(raised.value.__cause__, StorageError)


def test_ctrl_c_in_training_is_taken_for_an_error():
    def work(config, context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ENGINE.train(work, {}, workers=1, gpus=0, bar=Bar())


def test_a_bar_moves_only_when_a_fold_is_over(monkeypatch):
    bar = Bar()
    seen = []
    monkeypatch.setattr("distill.engine.local.track", lambda *_: closing_bar(bar))

    def partial(item):
        seen.append(bar.amount)
        return item

    assert ENGINE.fold("sum", partial, [1, 2, 3], max, size=lambda item: 10 * item) == 3
    assert seen == [0, 10, 30]
    assert bar.amount == 60


def test_torch_works_on_more_threads_than_the_worker_set_as_it_was_built():
    import torch

    def worker(config, device, stream):
        torch.set_num_threads(1)
        return lambda _task: {"threads": torch.get_num_threads()}

    results = ENGINE.map(worker, {}, tasks(1), Compute(cpus=2), Bar())
    assert list(results) == [{"threads": 1}]


class closing_bar:  # noqa: N801  a context manager
    def __init__(self, bar):
        self.bar = bar

    def __enter__(self):
        return self.bar

    def __exit__(self, *_):
        pass


def test_threads_or_torchs_random_numbers_stay_as_the_work_left_them():
    import torch

    threads_before = torch.get_num_threads()
    torch.set_num_threads(2)
    before = blas_threads()

    def worker(config, device, stream):
        torch.set_num_threads(1)
        return lambda task: task

    def work(config, context):
        torch.set_num_threads(1)
        torch.manual_seed(7)
        assert blas_threads() == {1}

    with closing(ENGINE.map(worker, {}, tasks(2), Compute(), Bar())) as results:
        next(results)
        assert blas_threads() == {1}
    assert torch.get_num_threads() == 2
    drawn = torch.get_rng_state()
    ENGINE.train(work, {}, workers=1, gpus=0, bar=Bar())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.get_num_threads() == 2
    assert blas_threads() == before
    torch.set_num_threads(threads_before)


def test_a_worker_of_more_cpus_sums_on_one_thread_or_a_fold_on_many():
    if max(blas_threads()) < 2:
        pytest.skip("BLAS has one thread here")

    def worker(config, device, stream):
        return lambda _task: {"threads": max(blas_threads())}

    results = ENGINE.map(worker, {}, tasks(1), Compute(cpus=2), Bar())
    assert list(results) == [{"threads": 2}]
    assert ENGINE.fold("sum", lambda _: max(blas_threads()), [0], max) == 1
    assert ENGINE.call(lambda: max(blas_threads())) == 1
