"""Keys by reference: what is wrong with one is said, and it is never quoted."""

from __future__ import annotations

import base64

import pytest

from distill.core.errors import JobError, StorageError
from distill.core.secret_keys import key_check, secret_key, unwrap_key, wrap_key

KEY = bytes(range(32))


def test_a_key_of_a_file_is_another_than_that_of_the_environment(tmp_path, monkeypatch):
    text = base64.b64encode(KEY).decode()
    monkeypatch.setenv("A_KEY", text)
    file = tmp_path / "key"
    file.write_text(f"{text}\n")
    assert secret_key("env:A_KEY") == secret_key(f"file:{file}") == KEY
    assert key_check("env:A_KEY") == key_check(f"file:{file}")
    assert key_check("env:A_KEY") not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is missing"), ("not/base64!", "is no base64"), ("c2hvcnQ=", "has 5 bytes; at least 16")],
)
def test_a_wrong_key_is_quoted_or_taken(monkeypatch, text, words):
    monkeypatch.setenv("A_KEY", text)
    with pytest.raises(JobError, match="env:A_KEY") as raised:
        secret_key("env:A_KEY")
    assert words in str(raised.value)
    assert not text or text not in str(raised.value)


def test_a_key_that_is_written_where_its_reference_is_due_is_quoted(tmp_path):
    secret = base64.b64encode(KEY).decode()
    with pytest.raises(JobError) as raised:
        secret_key(secret)
    assert secret not in str(raised.value)
    with pytest.raises(JobError, match=f"file:{tmp_path}/none is missing"):
        secret_key(f"file:{tmp_path}/none")


def test_a_wrapped_key_is_readable_or_another_key_unwraps_it(monkeypatch):
    monkeypatch.setenv("A_KEY", base64.b64encode(KEY).decode())
    data_key = b"data key of 32 bytes, at random!"
    wrapped = wrap_key("env:A_KEY", data_key)
    assert data_key not in wrapped
    assert wrap_key("env:A_KEY", data_key) != wrapped
    assert unwrap_key("env:A_KEY", wrapped) == data_key
    for place in (0, 20, len(wrapped) - 1):
        changed = bytearray(wrapped)
        changed[place] ^= 1
        with pytest.raises(StorageError, match="is not the one"):
            unwrap_key("env:A_KEY", bytes(changed))
    monkeypatch.setenv("A_KEY", base64.b64encode(KEY[::-1]).decode())
    with pytest.raises(StorageError, match="env:A_KEY is not the one"):
        unwrap_key("env:A_KEY", wrapped)
