"""What the stores beside S3 do under faults: `tests.faulty_store` before the emulators of Google's
and Azure's."""

import os

import pytest

from distill.core.errors import JobError, StorageError
from distill.storage.open import open_storage, require_conditional_put
from distill.storage.remote import forget_filesystems
from tests.faulty_store import Fault, FaultyStore
from tests.storage.conftest import below
from tests.storage.test_faults import CONTENT, KEYS, create, lose, put, read, seek, walk

ADDRESS = {"gs": "STORAGE_EMULATOR_HOST", "abfs": "AZURE_STORAGE_CONNECTION_STRING"}
OPERATIONS = [put, create, lose, read, seek, walk]
FAULTS = ["503", "500_after", "reset_before", "reset_after", "truncated"]


@pytest.fixture(params=list(ADDRESS))
def faulty(request, monkeypatch):
    """The proxy without a fault yet, and an empty folder behind it."""
    root = below(request)
    variable = ADDRESS[request.param]
    said = os.environ[variable]
    address = said.rpartition("BlobEndpoint=")[2].partition("/devstoreaccount1")[0]
    with FaultyStore(address, seed=1) as proxy:
        monkeypatch.setenv(variable, said.replace(address, proxy.url))
        forget_filesystems()
        proxy.root = open_storage(root)
        yield proxy
    monkeypatch.undo()
    forget_filesystems()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_that_passes_changes_nothing(faulty, operation, fault):
    for key in KEYS:
        faulty.root.put(key, b"x")
    faulty.root.put("kept", CONTENT)
    faulty.faulty(Fault(fault, nth=range(1, 3)))
    assert operation(faulty.root)
    assert faulty.did[fault] >= 1, "no fault happened, so this test shows nothing"


@pytest.mark.parametrize("size", [1_000, 1 << 20])
def test_a_flipped_bit_in_a_small_object_is_believed(faulty, size):
    faulty.root.put("commit", CONTENT[:1] * size)
    faulty.faulty(Fault("flipped", "GET", nth=range(1, 2)))
    assert faulty.root.read("commit") == CONTENT[:1] * size
    assert faulty.did["flipped"] == 1
    asked = faulty.asked["GET"]
    faulty.faulty()
    assert faulty.root.read("commit") == CONTENT[:1] * size
    assert faulty.asked["GET"] == asked + 1, "the digest of a whole object was thought another's"


def test_a_store_without_conditional_put_is_taken_for_a_root(gs, monkeypatch):
    from gcp_storage_emulator.handlers import objects

    conditional = objects._multipart_upload
    monkeypatch.setattr(objects, "_multipart_upload", conditional.__wrapped__)
    root = open_storage(f"{gs}/careless")
    with pytest.raises(JobError, match="has no conditional put"):
        require_conditional_put(root)
    assert root.list_objects() == [], "the probe was left behind"


def test_a_bucket_that_is_not_there_is_written_to(gs):
    with pytest.raises(StorageError, match="no such bucket or container, 'distill-no-such-bucket'"):
        open_storage("gs://distill-no-such-bucket/x").put("a", b"x")
    with pytest.raises(StorageError, match="no such bucket"):
        open_storage("gs://distill-no-such-bucket/x").list_objects()
