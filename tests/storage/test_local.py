"""The disk: what a kill may leave behind, and what a folder may hold."""

import os
import signal
import subprocess
import sys

import pytest

from distill.errors import StorageError
from distill.storage.local import LocalStorage

STOPPED = """
import os, pathlib, sys, time
from distill.storage.local import LocalStorage

def stop(*_):
    print("reached", flush=True)
    time.sleep(600)

{place} = stop
LocalStorage(sys.argv[1]).{call}("commits/1", b"half a commit")
"""


@pytest.mark.parametrize(
    ("call", "place"),
    [("create", "os.link"), ("create", "os.fsync"), ("put", "pathlib.Path.replace"), ("put", "os.fsync")],
)
def test_a_kill_before_the_final_name_leaves_nothing_visible(tmp_path, call, place):
    (tmp_path / "commits").mkdir()
    command = [sys.executable, "-c", STOPPED.format(place=place, call=call), tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "reached\n"
        writer.send_signal(signal.SIGKILL)
    left = list((tmp_path / "commits").iterdir())
    assert len(left) == 1, "the kill came before the temporary file, so this test shows nothing"
    store = LocalStorage(tmp_path)
    assert store.list_objects() == []
    assert store.read_or_none("commits/1") is None
    assert store.put_if_absent("commits/1", b"another's")
    assert [entry.key for entry in store.list_objects()] == ["commits/1"]


def test_a_kill_after_the_final_name_leaves_the_whole_object(tmp_path):
    command = [sys.executable, "-c", STOPPED.format(place="pathlib.Path.unlink", call="create"), tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "reached\n"
        writer.send_signal(signal.SIGKILL)
    store = LocalStorage(tmp_path)
    assert [entry.key for entry in store.list_objects()] == ["commits/1"]
    assert store.read("commits/1") == b"half a commit"
    assert store.put_if_absent("commits/1", b"half a commit")


def test_a_lost_race_leaves_no_temporary_file(tmp_path):
    store = LocalStorage(tmp_path)
    store.create("a", b"1")
    store.create("a", b"2")
    store.put("a", b"3")
    assert os.listdir(tmp_path) == ["a"]


def test_a_linked_folder_is_part_of_the_pool(tmp_path):
    LocalStorage(tmp_path / "disk2").put("x/part", b"rows")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "more").symlink_to(tmp_path / "disk2")
    assert [entry.key for entry in LocalStorage(tmp_path / "pool").list_objects()] == ["more/x/part"]


def test_a_folder_linked_into_itself_is_refused_and_not_listed_forty_times(tmp_path):
    store = LocalStorage(tmp_path)
    store.put("part", b"rows")
    (tmp_path / "self").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="self"):
        store.list_objects()


def test_a_link_that_leads_nowhere_is_refused_by_name(tmp_path):
    (tmp_path / "part").symlink_to(tmp_path / "gone")
    with pytest.raises(StorageError, match="part"):
        LocalStorage(tmp_path).list_objects()


def test_a_path_below_the_home_folder_is_not_a_folder_named_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalStorage("~/pool").uri == str(tmp_path / "pool")
