"""What tests share: a Ray, a real S3 server, stores of both kinds, and Hypothesis's settings.

`s3` runs Ceph's gateway (`infra/s3-server`) where Ceph is installed and moto elsewhere. moto does
not check credentials and is no store to trust a race to, so the tests that need the real one ask
for `real_s3` and are skipped, and the summary names them.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from distill.core import plugins
from distill.spec.pools import POOL_FORMATS
from distill.storage.base import Storage
from distill.storage.open import open_storage
from tests import deadline, schedule, summary
from tests.engine.here import SharedRay
from tests.forkserver import shared_forkserver
from tests.raylets import Raylets, static_raylet

SERVER = Path(__file__).parents[1] / "infra" / "s3-server"
_S3_FOLDER = "DISTILL_TEST_S3_FOLDER"
NOT_ON_A_REAL_STORE = pytest.StashKey[list[str]]()
_END = ExitStack()
_SHARED = ExitStack()
"""Ends what tests share, by the fixtures in `schedule`."""

# tmp_path is shared by the examples of one test on purpose; two busy cores make any deadline a
# guess
settings.register_profile(
    "distill", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("distill")


@pytest.fixture(autouse=True)
def _plugins_end_with_their_test():
    """What a test registers is unknown to the next one, whichever that is."""
    yield
    for file in plugins._loaded.values():
        file.forget()
    plugins._loaded.clear()
    for name, cls in list(POOL_FORMATS.items()):
        if not cls.__module__.startswith("distill."):
            del POOL_FORMATS[name]


def has_ceph() -> bool:
    """Whether the real server can be started without installing anything."""
    return all(shutil.which(program) for program in ("ceph", "ceph-mon", "ceph-osd", "radosgw"))


@pytest.fixture(scope="session")
def s3_server():
    """The environment of a running S3 server."""
    yield from _ceph() if has_ceph() else _moto()


def _ceph():
    """One for all processes of xdist, since a start takes 4 CPU-seconds and 20 of waiting: the
    first to ask starts it, and others that ask meanwhile wait for its lock."""
    started = subprocess.run(
        [SERVER, "start", os.environ[_S3_FOLDER]],
        env=os.environ | {"S3_SIZE_GB": "4"},
        capture_output=True,
        text=True,
    )
    assert started.returncode == 0, started.stderr
    yield dict(line.removeprefix("export ").split("=", 1) for line in started.stdout.splitlines())


def _moto():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    region = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "moto",
        "AWS_SECRET_ACCESS_KEY": "moto-secret",
        **region,
    }
    server.stop()


@pytest.fixture(scope="session")
def s3(s3_server):
    """`s3://BUCKET`, made for this session; the environment of the process leads there from now on."""
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in s3_server.items():
            patch.setenv(name, value)
        forget_client()
        bucket = f"distill-{uuid.uuid4().hex[:12]}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield f"s3://{bucket}"
    forget_client()


@pytest.fixture
def s3_root(s3):
    """An empty `s3://BUCKET/PREFIX` of this test alone."""
    return f"{s3}/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def real_s3(request, s3_root):
    """`s3_root` on a real store; skips on moto."""
    if not has_ceph():
        request.config.stash.setdefault(NOT_ON_A_REAL_STORE, []).append(request.node.nodeid)
        pytest.skip("needs Ceph's radosgw, ceph-mon and ceph-osd")
    return s3_root


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path) -> Storage:
    """An empty folder of either kind."""
    return open_storage(
        str(tmp_path / "store") if request.param == "local" else request.getfixturevalue("s3_root")
    )


@pytest.fixture(scope="session")
def shared_ray():
    """The one Ray of this process; tests ask for `ray`."""
    shared = SharedRay()
    _SHARED.callback(shared.end)
    yield shared
    shared.end()


@pytest.fixture
def ray(shared_ray):
    """A Ray on which nothing runs, of `here.CPUS` CPUs."""
    yield shared_ray.start()
    shared_ray.give_back()


@pytest.fixture
def joining(ray, shared_ray):
    """By what a command joins the shared Ray."""
    return shared_ray.joining()


@pytest.fixture
def two_nodes(s3):
    """A head and another node of one CPU each, which know the store. Who takes one away has another
    join."""
    return _two_nodes()


@functools.cache
def _two_nodes() -> Raylets:
    raylets = _SHARED.enter_context(static_raylet())
    _SHARED.callback(_two_nodes.cache_clear)
    raylets.join()
    return raylets


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    """A Ray takes 8% of a core also while nobody asks for it, so it ends with the last test that
    does: they come first."""
    if nextitem is None or not schedule.shared_by(nextitem.nodeid):
        _SHARED.close()


def pytest_sessionfinish():
    _SHARED.close()  # of a run that was interrupted


def forget_client() -> None:
    """Let the next S3 call read the environment again."""
    from distill.storage import remote

    remote.forget_filesystems()


def pytest_configure(config):
    for plugin in (schedule, summary, deadline):
        config.pluginmanager.register(plugin)
    if not hasattr(config, "workerinput"):
        os.environ[_S3_FOLDER] = tempfile.mkdtemp(prefix="distill-s3-")
        if config.getoption("numprocesses", None):
            folder = _END.enter_context(tempfile.TemporaryDirectory(prefix="dt", dir="/tmp"))
            _END.enter_context(shared_forkserver(Path(folder)))


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        _END.close()
        folder = Path(os.environ.pop(_S3_FOLDER))
        if any(folder.iterdir()):
            subprocess.run([SERVER, "stop", folder], check=True)
        shutil.rmtree(folder)


def pytest_collection_modifyitems(items):
    for item in items:
        if {"s3", "s3_server", "s3_root", "real_s3"} & set(item.fixturenames):
            item.add_marker(pytest.mark.s3)


def pytest_terminal_summary(terminalreporter, config):
    skipped = config.stash.get(NOT_ON_A_REAL_STORE, [])
    ran = sum("s3" in report.keywords for report in terminalreporter.stats.get("passed", []))
    if not has_ceph() and (skipped or ran):
        terminalreporter.section("not run on a real store")
        terminalreporter.line(
            f"Ceph is not installed: {ran} S3 tests ran against moto alone, and {len(skipped)} were skipped:"
        )
        for name in skipped:
            terminalreporter.line(f"  {name}")
