"""Jobs on a real cluster with its dashboard and token: one Ray for all of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import REPOSITORY, environment, is_alive
from tests.engine.ray.submission.cluster import dashboard_cluster
from tests.tiny import DOUBLING, write_job, write_pool
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CANARY = "hush-7a3f91"
LABELER = """
import os, time
from pathlib import Path

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def __init__(self):
        assert os.environ.get("CANARY") == {canary!r}[::-1], "no canary"
        assert "NEVER_NAMED" not in os.environ
        self.calls = 0
        self.others_stops = stops()

    def label(self, features):
        self.calls += 1
        if self.calls > 8:
            Path({hold!r} + ".new").write_text(str(os.getpid()))
            Path({hold!r} + ".new").rename({hold!r} + ".reached")
        while self.calls > 8 and Path({hold!r}).exists():
            if stops() - self.others_stops:
                Path({hold!r} + ".told").touch()
            time.sleep(0.05)
        return 2 * features[:, :3]

def stops():
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_list

    keys = _internal_kv_list("", namespace=b"distill")
    return {{key for key in keys if _internal_kv_get(key, namespace=b"distill") == b"-1"}}
"""
JOB = """
    root = "{root}"
    fragment_rows = 64
    [pools.p]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.l]
    labeler = {{ kind = "custom", file = "labeler.py" }}
    over = ["p"]
    compute = {{ max = 1 }}
"""
FRAGMENTS = 12
TAUGHT = """
    [pools.test]
    path = "{pool}/../test"
    target = "kind"
    classes = ["a", "b", "c"]
    [students.small]
    model = {{ kind = "linear" }}
    training = {{ epochs = 1, batch_rows = 64 }}
    [[students.small.terms]]
    learns = "labels.l"
    loss = {{ kind = "kl" }}
    [evaluate]
    on = "test"
"""


@pytest.fixture(scope="module")
def cluster():
    with dashboard_cluster() as found:
        yield found


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job of `FRAGMENTS` fragments; as long as the file `hold` is there, it comes no further than to the eighth."""
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("NEVER_NAMED", CANARY)
    write_pool(tmp_path / "pool", [64 * 4] * 3)
    folder = tmp_path / "job"
    file = write_job(folder, JOB.format(root=tmp_path / "root", pool=tmp_path / "pool"))
    hold = str(tmp_path / "hold")
    # the value stands backwards in the code, so that only what was sent is found by its search
    (folder / "labeler.py").write_text(LABELER.format(canary=CANARY[::-1], hold=hold))
    return file


def commits(job):
    return {
        file.name: (file.stat().st_mtime_ns, file.read_bytes())
        for file in job.parents[1].glob("root/labels/l/v1/*/commits/**/*.json")
    }


def drivers(job_id, cluster):
    """Processes of a job's driver."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                known = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"distill" in words and b"run" in words and job_id.encode() in known:
                found.append(int(entry.name))
    return found


def submitted(process):
    """The id, as soon as it is said."""
    for line in process.stdout:
        match = re.match(r"Submitted (\S+) ", line)
        if match:
            return match[1]
    raise AssertionError("it was not submitted")


def test_a_token_is_not_looked_at(cluster, tmp_path):
    right = cluster.distill("jobs")
    assert right.code == 0, right.output
    wrong = cluster.distill("jobs", RAY_AUTH_TOKEN="wrong")
    assert wrong.code == 2
    assert "does not take the token from RAY_AUTH_TOKEN" in wrong.output
    none = cluster.distill("jobs", RAY_AUTH_MODE="disabled")
    assert none.code == 2
    assert "asks for a token, and none was sent" in none.output
    plain = cluster.distill("jobs", "--address", "http://10.0.0.5:8265")
    assert plain.code == 2
    assert "nothing was sent" in plain.output


def test_a_secret_is_written_anywhere(cluster, job, tmp_path):
    write_pool(tmp_path / "test", [100])
    taught = (JOB + TAUGHT).format(root=tmp_path / "root", pool=tmp_path / "pool")
    write_job(job.parent, taught, job.name)
    ended = cluster.distill("submit", job, "--env", "CANARY", "--verbose", "--log-format", "json")
    # the worker holds it against its own spelling, so labels are there where it came
    assert ended.code == 0, ended.output
    assert len(commits(job)) == FRAGMENTS
    assert "768 rows in = 768 labelled + 0 rejected" in ended.output
    assert list((tmp_path / "root").glob("reports/**/*.html"))
    listed = cluster.distill("jobs")
    assert "SUCCEEDED" in listed.output
    without = cluster.distill("submit", job, "--root", tmp_path / "other")
    assert without.code == 1
    assert "no canary" in without.output
    outputs = ended.output + listed.output + without.output
    assert CANARY not in outputs
    assert cluster.token_file.read_text() not in outputs
    searched = 0
    for folder in (cluster.folder / "ray", tmp_path / "root", tmp_path / "other"):
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                searched += 1
                assert CANARY.encode() not in file.read_bytes(), file
    assert searched > 50


def test_a_job_whose_driver_was_killed_does_not_go_on(cluster, job, tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    process = cluster.start("submit", job, "--env", "CANARY")
    id = submitted(process)
    reached = tmp_path / "hold.reached"
    wait_until(reached.exists, process)
    beside = cluster.distill("submit", job, "--env", "CANARY")
    assert beside.code == 2, beside.output
    assert "FAILED, exit code 2." in beside.output
    assert "is at work on it since" in beside.output
    for driver in drivers(id, cluster):
        os.kill(driver, signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 137, output
    # what is in work there is lost, and nothing is committed any more
    wait_until(lambda: not is_alive(int(reached.read_text())))
    before = commits(job)
    assert 0 < len(before) < FRAGMENTS
    hold.unlink()
    # another package, so another folder on the node
    (job.parent / "note.txt").write_text("x")
    again = cluster.distill("submit", job, "--env", "CANARY")
    assert again.code == 0, again.output
    after = commits(job)
    assert len(after) == FRAGMENTS
    assert {name: after[name] for name in before} == before
    labelled_now = int(re.search(r"\((\d+) labelled now\)", again.output)[1])
    assert labelled_now == FRAGMENTS - len(before)
    verified = cluster.distill("verify", job, "--canaries", "0")
    assert verified.code == 0, verified.output
    assert "768 rows = 768 labelled" in verified.output
    done = cluster.distill("submit", job, "--env", "CANARY")
    assert done.code == 0
    assert "Nothing was left to do" in done.output


def test_a_stopped_job_leaves_what_is_in_work(cluster, job, tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    sent = cluster.distill("submit", job, "--env", "CANARY", "--detach")
    assert sent.code == 0, sent.output
    id = re.search(r"Submitted (\S+) ", sent.output)[1]
    # a stop that comes before finds nothing in work when it comes between two fragments
    wait_until((tmp_path / "hold.reached").exists)
    stopping = cluster.start("stop", id)
    wait_until(lambda: "Finishing the fragments in work" in driver_log(cluster, id), stopping)
    # the driver passes it on to the actors a little later
    wait_until((tmp_path / "hold.told").exists, stopping)
    held = len(commits(job))
    hold.unlink()
    output, _ = stopping.communicate()
    assert f"{id}: STOPPED, exit code 143." in output
    # what was in work is committed, and no other was begun
    assert held < len(commits(job)) <= held + 3
    followed = cluster.distill("logs", id)
    assert followed.code == 143, followed.output
    assert "Stopped. What was committed stays" in followed.output


def driver_log(cluster, id):
    (log,) = cluster.folder.glob(f"ray/session_2*/logs/job-driver-{id}.log")
    return log.read_text()


GUIDE = (REPOSITORY / "cluster" / "README.md").read_text("utf-8")


def test_the_commands_of_the_guide_fail(cluster, job, tmp_path):
    section = GUIDE.partition("## Submit a job")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("distill ")]
    names = {
        "job.toml": str(job),
        "s3://BUCKET/RUN": str(tmp_path / "root"),
        "HF_TOKEN": "CANARY",
    }
    seen = set()
    for line in lines:
        words = [names.get(word, word) for word in line.partition("#")[0].split()]
        ended = cluster.distill(*words[1:])
        # the one that was detached is at work or over when it is to stop
        assert ended.code in ((0, 143) if words[1] == "logs" else (0,)), ended.output
        if words[1] == "submit":
            names["ID"] = re.search(r"Submitted (\S+) ", ended.output)[1]
        seen.add(words[1])
    assert seen == {"submit", "jobs", "logs", "stop"}


def test_rays_own_command_does_not_submit(cluster, job, tmp_path, monkeypatch):
    (line,) = re.findall(r"`(ray job submit [^`]+)`", GUIDE)
    shipped = job.parent / "distill"
    shipped.symlink_to(REPOSITORY / "distill")
    names = {
        "http://127.0.0.1:8265": cluster.address,
        ".": str(job.parent),
        "s3://BUCKET/RUN": str(tmp_path / "root"),
    }
    (job.parent / "labeler.py").write_text(DOUBLING)
    words = [names.get(word, word) for word in line.split()]
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(cluster.token_file)}
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("ray")), *words[1:]],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(commits(job)) == FRAGMENTS
