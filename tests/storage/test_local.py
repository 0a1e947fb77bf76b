"""The disk: what a kill may leave behind, and what a folder may hold."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from distill.core.errors import StorageError
from distill.storage.local import LocalStorage

STOPPED = """
import os, pathlib, sys, time
from distill.storage.local import LocalStorage

def stop(*_, **__):
    print("reached", flush=True)
    time.sleep(600)

{place} = stop
LocalStorage(sys.argv[1]).{call}("commits/1", b"half a commit")
"""


@pytest.mark.parametrize(
    ("call", "place"),
    [
        ("create", "os.link"),
        ("create", "os.fsync"),
        ("put", "pathlib.Path.replace"),
        ("put", "os.fsync"),
    ],
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
    command = [
        sys.executable,
        "-c",
        STOPPED.format(place="pathlib.Path.unlink", call="create"),
        tmp_path,
    ]
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
    assert [entry.key for entry in LocalStorage(tmp_path / "pool").list_objects()] == [
        "more/x/part"
    ]


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


SMALL_BYTES = 1 << 20


@pytest.fixture
def full_disk(tmp_path):
    """A file system of its own with 1 MiB, on which `filler` leaves some 8 KB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", place],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs (root): {mounted.stderr.strip()}")
    free = shutil.disk_usage(place).free
    (place / "filler").write_bytes(bytes(free - 8192))
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("call", ["put", "create", "put_if_absent"])
def test_a_full_disk_is_told_leaves_nothing_and_the_same_call_works_once_there_is_room(
    full_disk, call
):
    store, content = LocalStorage(full_disk), bytes(100_000)
    free = shutil.disk_usage(full_disk).free
    with pytest.raises(
        StorageError, match=r"commits/1 cannot be written: No space left.*Make room"
    ):
        getattr(store, call)("commits/1", content)
    assert [entry.key for entry in store.list_objects()] == ["filler"]
    assert os.listdir(full_disk / "commits") == []
    assert free - shutil.disk_usage(full_disk).free <= 4096, (
        "a half-written file keeps the disk full"
    )
    (full_disk / "filler").unlink()
    assert getattr(store, call)("commits/1", content) in (True, None)
    assert store.read("commits/1") == content


def test_a_full_disk_does_not_damage_what_a_put_would_have_replaced(full_disk):
    store = LocalStorage(full_disk)
    store.put("latest", b"the one before")
    with pytest.raises(StorageError, match="No space left"):
        store.put("latest", bytes(100_000))
    assert store.read("latest") == b"the one before"


def test_a_disk_mounted_for_reading_is_told(full_disk):
    subprocess.run(["mount", "-o", "remount,ro", full_disk], check=True)
    with pytest.raises(StorageError, match=r"Read-only file system.*Mount it for writing"):
        LocalStorage(full_disk).put("a", b"x")


def test_a_disk_without_hard_links_is_told_by_name_and_keeps_no_half(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match="needs hard links"):
        LocalStorage(tmp_path).create("a", b"x")
    assert os.listdir(tmp_path) == []


def test_threads_that_make_the_same_folder_do_not_meet(tmp_path):
    store, ready = LocalStorage(tmp_path), threading.Barrier(8)

    def write(number):
        ready.wait()
        store.put(f"x/y/z/{number}", b"1")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list_objects()) == 8
