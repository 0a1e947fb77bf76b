"""The one loop that asks again: bounded, told, and never for what will not pass."""

import logging
import threading
import time
from types import SimpleNamespace

import pytest

from distill.core.errors import StorageError
from distill.storage import retry
from distill.storage.retry import until_answered
from tests.waiting import LIMIT_SECONDS


class BusyError(Exception):
    pass


def passing(error):
    return "503 SlowDown" if isinstance(error, BusyError) else None


@pytest.fixture
def quick(monkeypatch):
    """Little patience, by a clock that stands still between waits."""
    clock = [0.0]

    def sleep(seconds):
        clock[0] += seconds

    timing = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    monkeypatch.setattr(retry, "time", timing)
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 1.0)
    monkeypatch.setattr(retry, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(retry, "_LONGEST_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(retry, "_silences", {})


def failing(times):
    left = iter(range(times))

    def ask():
        if next(left, None) is not None:
            raise BusyError
        return "answer"

    return ask


def test_what_passes_is_asked_again_until_it_is_answered(quick):
    assert until_answered(failing(3), "s3://b/k", passing) == "answer"


def test_what_does_not_pass_is_asked_once():
    asked = []
    with pytest.raises(KeyError):
        until_answered(lambda: asked.append(1) or {}["no"], "s3://b/k", passing)
    assert asked == [1]


def test_the_wait_is_bounded_and_ends_with_the_object_the_reason_and_the_way_out(quick):
    with pytest.raises(StorageError, match=r"s3://b/k: .*503 SlowDown.*run the same command again"):
        until_answered(failing(10**9), "s3://b/k", passing)


def test_many_threads_that_wait_say_one_line(quick, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(retry, "time", time)
    monkeypatch.setattr(retry, "LIMIT_SECONDS", LIMIT_SECONDS)
    threads = [
        threading.Thread(target=until_answered, args=(failing(5), "s3://b/k", passing))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "s3://b/k: the store does not answer (503 SlowDown), trying again for up to 900 s"
    ]


def test_a_short_trouble_is_not_worth_a_line(quick, caplog):
    assert until_answered(failing(1), "s3://b/k", passing) == "answer"
    assert not caplog.records


def test_a_store_that_is_gone_is_waited_for_once_and_not_by_each_who_asks(quick):
    asked = []

    def ask():
        asked.append(1)
        raise BusyError

    with pytest.raises(StorageError):
        until_answered(ask, "s3://b/data", passing)
    asked.clear()
    with pytest.raises(StorageError, match="s3://b/manifest"):
        until_answered(ask, "s3://b/manifest", passing)
    assert asked == [1]


def test_a_store_that_answered_again_is_waited_for_anew(quick):
    with pytest.raises(StorageError):
        until_answered(failing(10**9), "s3://b/k", passing)
    assert until_answered(failing(0), "s3://b/k", passing) == "answer"
    assert until_answered(failing(3), "s3://b/k", passing) == "answer"


def test_the_silence_of_one_store_is_held_against_another(quick):
    with pytest.raises(StorageError):
        until_answered(failing(10**9), "http://a:80/k", passing)
    assert until_answered(failing(1), "http://b:80/k", passing) == "answer"
    with pytest.raises(StorageError, match="did not answer 1 times"):
        until_answered(failing(1), "http://a:80/other", passing)
