from __future__ import annotations

import threading

from distill.labels import lease
from distill.labels.lease import hold_lease
from distill.labels.roll_up import finish_manifest, roll_up
from distill.storage.request_counts import requests


def test_each_driver_reads_every_commit(labels, inventory):
    before = requests()
    first = roll_up(labels.folder, labels.name, labels.version, inventory, what="labels")
    read_by_first = (requests() - before).get
    assert read_by_first >= len(labels.entries)
    before = requests()
    second = finish_manifest(labels, inventory, "labels")
    assert (requests() - before).get < 6
    assert first.snapshot().label_hash == second.snapshot().label_hash == labels.label_hash


def test_two_drivers_write_the_manifest(labels, inventory, monkeypatch):
    monkeypatch.setattr(lease, "_FIRST_PAUSE_SECONDS", 0.02)
    release = threading.Event()
    found = []
    parts = labels.folder.folder("parts")

    def finish():
        found.append(finish_manifest(labels, inventory, "labels").snapshot().label_hash)

    with hold_lease(parts, "labels: its manifest", "manifest.json"):
        waiting = threading.Thread(target=finish)
        waiting.start()
        assert not release.wait(0.3)
        assert not found
        assert labels.folder.folder("manifest").list_objects() == []
    waiting.join()
    assert found == [labels.label_hash]
