"""Encrypted label sets: unreadable without their key, and what is said of another one."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import itertools
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from distill.core.errors import JobError, StorageError
from distill.core.schema import columns_sha256
from distill.core.secret_keys import KEY_SOURCES, KeySource
from distill.labels import columns_digest as columns_digests
from distill.labels.columns_digest import columns_digest
from distill.labels.commit import Provenance, WriteIntent, read_labels, read_rejects
from distill.labels.contract import read_contract
from distill.labels.encoding import encode
from distill.labels.encryption import is_encrypted
from distill.labels.files import data_bytes, parquet_bytes, read_data, read_note, with_keys
from distill.labels.integrity import integrity_problem
from distill.labels.state import read_label_set, read_state
from distill.labels.writer import LabelWriter
from distill.stages.apply.applied_files import parquet_content
from distill.storage.open import open_storage
from tests.making import a_contract, list_pool, some_labels, write_fragment, write_label_set

CANARY = "canary-4f1e"


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("LABELS_KEY", new_key())


def encrypted(**changes):
    return a_contract(format="parquet", encrypted=True, key="env:LABELS_KEY", **changes)


def keyed(contract):
    keys = pa.table({"who": [f"{CANARY}-{row}" for row in range(50)]})
    return with_keys(some_labels(50, contract), keys, contract)


def test_a_canary_lies_in_an_encrypted_file():
    plain = dataclasses.replace(encrypted(keys=("who",)), encrypted=False)
    assert CANARY.encode() in bytes(
        pq.read_table(pa.py_buffer(data_bytes(keyed(plain), plain)))["who"].chunk(0).buffers()[2]
    )
    contract = encrypted(keys=("who",))
    content = data_bytes(keyed(contract), contract, b"note-" + CANARY.encode())
    assert is_encrypted(content)
    # neither the values, nor the names of columns, nor the note; only where the key lies
    for word in (CANARY.encode(), b"who", b"logits", b"note"):
        assert word not in content
    assert b"env:LABELS_KEY" in content
    with pytest.raises(OSError, match="no decryption"):
        pq.read_table(pa.py_buffer(content))
    assert read_data(content, contract).equals(keyed(contract))
    assert read_note(content, contract) == b"note-" + CANARY.encode()


def test_two_files_share_a_key():
    contract = encrypted()
    labels = some_labels(50, contract)
    assert data_bytes(labels, contract) != data_bytes(labels, contract)


def test_another_key_gives_other_labels_or_no_reason(monkeypatch):
    contract = encrypted()
    content = data_bytes(some_labels(5, contract), contract)
    monkeypatch.setenv("LABELS_KEY", new_key())
    with pytest.raises(StorageError, match=r"s3://b/x is encrypted: the key env:LABELS_KEY is not"):
        read_data(content, contract, "s3://b/x")
    monkeypatch.delenv("LABELS_KEY")
    with pytest.raises(JobError, match=r"s3://b/x is encrypted: the key env:LABELS_KEY is missing"):
        read_data(content, contract, "s3://b/x")


@pytest.mark.parametrize("where", [0.3, 0.6, 0.97])
def test_a_changed_byte_is_decrypted(where):
    contract = encrypted()
    content = bytearray(data_bytes(some_labels(2_000, contract), contract))
    content[int(where * len(content))] ^= 1
    with pytest.raises((StorageError, JobError)):
        read_data(bytes(content), contract)


def test_a_plain_file_is_put_in_place_of_an_encrypted_one():
    contract = encrypted()
    plain = dataclasses.replace(contract, encrypted=False)
    content = data_bytes(some_labels(5, plain), plain)
    with pytest.raises(StorageError, match="is not encrypted, where its contract says"):
        read_data(content, contract)


def test_a_rejects_message_lies_beside_encrypted_labels(tmp_path):
    contract = encrypted()
    folder = open_storage(str(tmp_path))
    intent = WriteIntent(0, 0, "0" * 32, 0, 20)
    labels = some_labels(20, contract, rejected=[3])
    rejects = [{"shard": "a", "row": 3, "reason": "output", "message": f"{CANARY} is bad"}]
    commit = write_fragment(
        folder,
        intent,
        labels,
        contract,
        rejects=rejects,
        provenance=Provenance("0" * 64, "cpu", {}),
    )
    for entry in folder.list_objects():
        assert CANARY.encode() not in folder.read(entry.key)
    assert is_encrypted(folder.read(commit.entry.rejects))
    assert read_rejects(folder, commit.entry.rejects).to_pylist() == rejects
    assert read_labels(folder, commit.entry.data, commit.xxh3, contract).equals(labels)


def test_an_encrypted_set_is_opened_with_words_of_the_job(tmp_path, inventory, outputs):
    written = write_label_set(
        tmp_path / "labels", encrypted(), inventory, fragment_rows=8, outputs=outputs
    )
    again = read_label_set(written.folder, "teacher", 1, inventory)
    assert again.contract.encrypted
    assert b"LABELS_KEY" not in written.folder.read("contract.json")
    stored = np.concatenate(
        [again.read(each).column(0).to_numpy(zero_copy_only=False) for each in again.entries]
    )
    assert len(stored) == len(outputs)


def guesses():
    """All that four rows of two classes may say, where the best class alone is revealed."""
    contract = encrypted(classes=("no", "yes"))
    for classes in itertools.product((0, 1), repeat=4):
        outputs = np.full((4, 2), -16, np.float32)
        outputs[np.arange(4), classes] = 0
        yield outputs, encode(outputs, np.ones(4, bool), contract)


def four_rows(tmp_path, contract, outputs):
    pool = tmp_path / "pool"
    pool.mkdir(exist_ok=True)
    pq.write_table(pa.table({"x": [1.0, 2.0, 3.0, 4.0]}), pool / "a.parquet")
    return write_label_set(
        tmp_path / "labels",
        contract,
        list_pool(tmp_path / "root", pool),
        fragment_rows=64,
        outputs=outputs,
    )


def found_by_trying(folder):
    """Which guesses have a digest that stands in plain in a folder."""
    plain = [folder.read(each.key) for each in folder.walk()]
    found = []
    for number, (_, table) in enumerate(guesses()):
        contract = encrypted(classes=("no", "yes"))
        columns = columns_sha256(table)
        known = [columns, hashlib.sha256(bytes.fromhex(columns)).hexdigest()]
        for form in ("arrow", "parquet"):
            file = data_bytes(table, dataclasses.replace(contract, format=form, encrypted=False))
            known += [hashlib.sha256(file).hexdigest(), xxhash.xxh3_128_hexdigest(file)]
        # under what else stands there
        known += [hmac.digest(key, bytes.fromhex(columns), "sha256").hex() for key in (b"", b"set")]
        needles = [word for each in known for word in (each.encode(), bytes.fromhex(each))]
        if any(needle in content for needle in needles for content in plain):
            found.append(number)
    return found


@pytest.mark.parametrize("hidden", [True, False])
def test_few_values_are_guessed_by_what_a_commit_says_of_them(tmp_path, hidden):
    outputs, _ = list(guesses())[6]
    contract = dataclasses.replace(encrypted(classes=("no", "yes")), encrypted=hidden)
    written = four_rows(tmp_path, contract, outputs)
    # of plain labels the same search finds them
    assert found_by_trying(written.folder) == ([] if hidden else [6])
    (entry,) = written.entries
    assert integrity_problem(written.folder, written.contract, entry) is None


def test_the_size_of_an_encrypted_file_says_what_is_in_it():
    contract = encrypted(classes=("no", "yes"))
    assert len({len(data_bytes(table, contract)) for _, table in guesses()}) == 1


def test_mending_a_fragment_changes_the_digest_of_its_labels(tmp_path):
    outputs, table = next(guesses())
    contract = encrypted(classes=("no", "yes"))
    one = four_rows(tmp_path, contract, outputs)
    (tmp_path / "other").mkdir()
    other = four_rows(tmp_path / "other", contract, outputs)
    again = columns_digest(table, read_contract(one.folder).contract)
    (entry,) = one.entries
    assert again == entry.columns_sha256
    # each set has a key of its own: nobody sees that two say the same
    assert one.label_hash != other.label_hash
    assert b"LABELS_KEY" not in one.folder.read("contract.json")


def test_a_set_that_was_begun_with_plain_digests_is_unreadable(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.labels.writer.new_digest_key", lambda _: "")
    outputs, table = next(guesses())
    former = four_rows(tmp_path, encrypted(classes=("no", "yes")), outputs)
    assert b"digest_key" not in former.folder.read("contract.json")
    (entry,) = former.entries
    assert entry.columns_sha256 == columns_sha256(table)
    monkeypatch.undo()
    # begun by whom it was: who goes on keeps to its digests
    state = read_state(former.folder, "teacher", 1)
    writer = LabelWriter(state)
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    writer.begin(encrypted(classes=("no", "yes")), inventory, 64)
    assert writer.digest_key == ""


def test_a_lost_key_of_digests_takes_them_for_damage(tmp_path, monkeypatch):
    outputs, table = next(guesses())
    written = four_rows(tmp_path, encrypted(classes=("no", "yes")), outputs)
    contract = read_contract(written.folder).contract
    columns_digests._shown_key.cache_clear()
    monkeypatch.setenv("LABELS_KEY", new_key())
    with pytest.raises(
        StorageError, match=r"contract\.json is encrypted: the key env:LABELS_KEY is"
    ):
        columns_digest(table, contract)


def test_a_key_of_digests_that_somebody_put_in_plain_is_taken():
    _, table = next(guesses())
    known = base64.b64encode(b"k" * 32).decode()
    contract = dataclasses.replace(encrypted(classes=("no", "yes")), digest_key=known)
    with pytest.raises(StorageError, match=r"contract\.json is not encrypted"):
        columns_digest(table, contract)


def test_the_statistics_of_what_is_applied_are_plain():
    secret = 7_310_225_114_993_771
    table = pa.table({"x": [secret, secret + 2], "who": [CANARY, CANARY + "-2"]})
    plain = parquet_content(table, "")
    content = parquet_content(table, "env:LABELS_KEY")
    for value in (secret.to_bytes(8, "little"), CANARY.encode()):
        assert value in plain
        assert value not in content
    with pytest.raises(OSError, match="no decryption"):
        pq.read_metadata(pa.py_buffer(content))


def test_a_key_service_must_give_its_key_away(monkeypatch):
    class Service(KeySource):
        """Wraps by a key of its own, and gives none away."""

        def wrap(self, name, data_key):
            return name.encode() + data_key[::-1]

        def unwrap(self, name, wrapped):
            return wrapped.removeprefix(name.encode())[::-1]

    monkeypatch.setitem(KEY_SOURCES, "kms", Service())
    contract = dataclasses.replace(encrypted(), key="kms:alias/distill")
    labels = some_labels(5, contract)
    assert read_data(data_bytes(labels, contract), contract).equals(labels)
    with pytest.raises(JobError, match="not given away"):
        KEY_SOURCES["kms"].key("alias/distill")


def test_tables_of_others_are_written_plain():
    content = parquet_bytes(pa.table({"text": [CANARY]}), "env:LABELS_KEY")
    assert is_encrypted(content)
    assert CANARY.encode() not in content
    assert not is_encrypted(parquet_bytes(pa.table({"text": [CANARY]})))
