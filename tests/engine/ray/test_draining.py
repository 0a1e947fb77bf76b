"""A node that is to go is left in time: what is in work there is done, nothing is begun, and nobody
takes it for a fault of the labeler's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from distill.core import events
from distill.engine.ray import draining
from distill.engine.ray.draining import DrainingNodes
from distill.engine.ray.kv_journal import KvJournal
from distill.engine.ray.map import map_fragments
from distill.engine.ray.monitor import LOST_GROUPS, Monitor
from distill.spec.labels import Compute
from tests.command import REPOSITORY, environment, run_code
from tests.engine.working import Bar, asked_to_end
from tests.waiting import LIMIT_SECONDS, wait_until


class Ray:
    def nodes(self):
        return [
            {"NodeID": name, "NodeManagerHostname": f"host-{name}", "Labels": {}} for name in "abc"
        ]


def test_a_node_that_drains_is_told_twice_or_a_late_one_never(monkeypatch):
    monkeypatch.setattr(draining, "_LOOK_SECONDS", -1.0)
    monkeypatch.setattr(events, "_observers", ())
    seen = []
    events.observe(seen.append)
    deadlines = {}
    monkeypatch.setattr(draining, "_deadlines", lambda: deadlines)
    watch = DrainingNodes(Ray())
    watch.look()
    assert seen == []
    deadlines["b"] = int(1000 * (time.time() + 100))
    watch.look()
    watch.look()
    deadlines["c"] = 0
    watch.look()
    assert [(each.name, each.worker) for each in seen] == [
        ("node_drains", "host-b"),
        ("node_drains", "host-c"),
    ]
    assert 90 < seen[0].figures["seconds"] <= 100
    assert seen[1].figures["seconds"] == 0


class Signal:
    key = "k"


@pytest.fixture
def kv(monkeypatch):
    """Ray's table of keys and values. A Ray that is imported before one is started here would take
    its settings from then on."""
    table = {}
    internal_kv = SimpleNamespace(
        _internal_kv_put=lambda key, value, **_: table.update({key: value}),
        _internal_kv_get=lambda key, **_: table.get(key),
        _internal_kv_del=lambda key, **_: table.pop(key, None),
    )
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    experimental = SimpleNamespace(internal_kv=internal_kv)
    monkeypatch.setitem(sys.modules, "ray.experimental", experimental)
    return table


def test_rows_are_suspected_that_were_in_work_when_the_node_went(kv):
    journal, another = KvJournal(Signal()), KvJournal(Signal())
    journal.write("p/1", {"at": "0+64", "deaths": {}})
    journal.write("p/2", {"at": "0+64", "deaths": {}})
    another.write("p/3", {"at": "0+64", "deaths": {"0+64": 1}})
    journal.delete("p/2")
    journal.close()
    journal.write("p/1", {"at": "64+64", "deaths": {}})
    assert kv == {"k/p/3": json.dumps({"at": "0+64", "deaths": {"0+64": 1}})}


def test_a_training_is_given_up_for_nodes_that_were_taken_away():
    monitor = Monitor()
    for _ in range(3 * LOST_GROUPS):
        assert monitor.lose("preempted", True) == ""
    for _ in range(LOST_GROUPS):
        assert monitor.lose("killed") == ""
    assert "was given up" in monitor.lose("killed")


PREEMPTED = """
from distill.engine.ray.train import _is_preempted
from ray.exceptions import ActorDiedError, RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

preempted = RayActorError(preempted=True)
assert _is_preempted(preempted)
assert _is_preempted(WorkerHealthCheckFailedError("lost", preempted))
assert not _is_preempted(ActorDiedError())
assert not _is_preempted(WorkerHealthCheckFailedError("lost", ActorDiedError()))
assert not _is_preempted(RuntimeError("gloo"))
"""


def test_what_ray_train_says_of_a_preempted_node_is_not_understood():
    ended = run_code(PREEMPTED)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.ray
def test_a_worker_that_is_asked_to_end_drops_what_is_in_work(ray, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(events, "_observers", (seen.append,))
    config = {"mark": str(tmp_path / "mark"), "fatal": 1}
    tasks = [[{"number": number}] for number in range(12)]
    answers = list(map_fragments(asked_to_end, config, tasks, Compute(max=1), Bar()))
    assert sorted(answer["number"] for answer in answers) == list(range(12))
    assert len({answer["pid"] for answer in answers}) == 2
    done = (tmp_path / "done").read_text().split()
    assert sorted(map(int, done)) == list(range(12))
    assert "worker_restarted" not in [each.name for each in seen]


MAPPING = """
import json
import sys
from distill.core import events
from distill.engine.ray.map import map_fragments
from distill.engine.ray.session import connect, disconnect
from distill.spec.labels import Compute
from tests.engine.working import Bar, traced

connect(sys.argv[1])
events.observe(lambda event: print("event", event.name, flush=True))
groups = [[{"number": 3 * group + part} for part in range(3)] for group in range(8)]
for answer in map_fragments(traced, {"folder": sys.argv[2]}, groups, Compute(min=2, max=2), Bar()):
    print("answer", answer["number"], flush=True)
disconnect()
"""


def begun(folder):
    """Number → the nodes on which it was begun."""
    return {int(file.stem): file.read_text().split() for file in folder.glob("*.begun")}


@pytest.mark.ray
@pytest.mark.slow
def test_what_is_in_work_on_a_node_that_goes_is_lost_or_other_work_is_begun_there(
    two_nodes, tmp_path
):
    raylets = two_nodes
    wait_until(lambda: len(raylets.nodes()) == 2)
    surroundings = {**environment(), **raylets.environment}
    driver = subprocess.Popen(
        [sys.executable, "-c", MAPPING, raylets.address, str(tmp_path)],
        env=surroundings,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    nodes = lambda: {node for each in begun(tmp_path).values() for node in each}  # noqa: E731
    wait_until(lambda: len(nodes()) == 2, driver)
    going = last_joined(raylets, surroundings)
    notice = subprocess.Popen(
        [sys.executable, "-m", "distill.engine.ray.spot_notice", "--now", "--seconds", str(LIMIT_SECONDS),
         "--address", raylets.address, "--node-id", going],
        env=surroundings, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines = []
    for line in driver.stdout:
        lines.append(line.strip())
        if lines[-1] == "event node_drains":
            break
    assert lines[-1] == "event node_drains", lines
    # the actor looks some seconds later; until then it has nothing to begin, since all wait
    wait_until((tmp_path / "leaving").exists, driver)
    (tmp_path / "go").touch()
    there = {number for number, each in begun(tmp_path).items() if going in each}
    said, _ = notice.communicate(timeout=LIMIT_SECONDS)
    assert "nothing is left on it" in said, said
    raylets.join()  # as an autoscaler brings another
    lines += driver.communicate(timeout=LIMIT_SECONDS)[0].splitlines()
    assert driver.returncode == 0, lines
    answers = sorted(int(line.split()[1]) for line in lines if line.startswith("answer"))
    assert answers == list(range(24))
    # once each: what was in work was done before the node went
    assert {number: len(each) for number, each in begun(tmp_path).items()} == dict.fromkeys(
        range(24), 1
    )
    assert {number for number, each in begun(tmp_path).items() if going in each} == there
    assert 0 < len(there) <= 2
    assert "event worker_restarted" not in lines


def last_joined(raylets, surroundings):
    """The id of the node that is no head."""
    asked = (
        "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
        "print('node', *[each['NodeID'] for each in ray.nodes() if each['Alive'] and 'node:__internal_head__' not in each['Resources']])"
    )
    told = subprocess.run(
        [sys.executable, "-c", asked, raylets.address],
        env=surroundings, capture_output=True, text=True, timeout=LIMIT_SECONDS,
    )  # fmt: skip
    return told.stdout.rpartition("node ")[2].strip()
