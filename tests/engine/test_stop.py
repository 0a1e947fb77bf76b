from __future__ import annotations

import os
import signal

import pytest

from distill.cli.process import _SIGNALS, _handle_signals, _Stop
from distill.engine.local import LocalEngine
from distill.engine.stop import finish_and_stop, stop_requested, stoppable
from distill.spec.labels import Compute
from tests.engine.working import Bar


@pytest.fixture
def handled():
    """Signals as in a command."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _handle_signals(_Stop())
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupting(seen, device, stream):
    """A worker that is interrupted in its second task, and ends it."""

    def work(task):
        if task["number"] == 1:
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(task["number"])
        return task

    return work


@pytest.mark.usefixtures("handled")
def test_one_ctrl_c_loses_the_fragment_in_work_or_begins_another(capsys):
    seen = []
    results = LocalEngine().map(
        interrupting, seen, [[{"number": number}] for number in range(5)], Compute(), Bar()
    )
    assert [next(results), next(results)] == [{"number": 0}, {"number": 1}]
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert seen == [0, 1]
    assert "Finishing the fragments in work" in capsys.readouterr().out


@pytest.mark.usefixtures("handled")
def test_a_second_ctrl_c_waits_for_the_fragment_too():
    def stubborn(config, device, stream):
        def work(task):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("went on")

        return work

    with pytest.raises(KeyboardInterrupt):
        next(LocalEngine().map(stubborn, {}, [[{}]], Compute(), Bar()))
    assert not finish_and_stop()


@pytest.mark.usefixtures("handled")
def test_ctrl_c_outside_labelling_waits_for_fragments():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_command_under_nohup_is_ended_by_a_closed_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _handle_signals(_Stop())
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        _handle_signals(signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, before)


def test_a_stop_of_one_labelling_ends_the_next():
    with pytest.raises(KeyboardInterrupt), stoppable():
        assert finish_and_stop()
    with stoppable():
        assert not stop_requested()
