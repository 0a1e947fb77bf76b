"""Keys by reference: a job says where a key lies, `env:NAME` or `file:/PATH`, and never the key.

What lies there is base64 of at least 16 random bytes (`openssl rand -base64 32`). A key is read
where it is used, on the driver and on every worker: it stands in no job, label set, log or message,
and is sent nowhere.

A key service (AWS KMS, Vault, …) is a `KeySource` of a plugin under a scheme of its own:

    class Vault(KeySource):
        def key(self, name: str) -> bytes: ...

    KEY_SOURCES["vault"] = Vault()          # a job may then say "vault:transit/distill"

One that gives no key away implements `wrap` and `unwrap` alone, which is all that encrypted files
need: each has a random key of its own, and what is stored beside it is that key, wrapped.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from pathlib import Path

from distill.core.errors import JobError, StorageError

_FEWEST_BYTES = 16
_NONCE_BYTES = 16
_TAG_BYTES = 32
_MAKE_ONE = "Make one by `openssl rand -base64 32`"


class KeySource:
    """Where keys lie; `name` is what stands behind the colon of a reference."""

    def key(self, name: str) -> bytes:
        """Return the key itself. Raises JobError where there is none, or none is given away."""
        raise JobError(f"the key {name!r} is not given away by its service. Use `env:` or `file:`.")

    def wrap(self, name: str, data_key: bytes) -> bytes:
        """Return a file's own key (at most 32 bytes), readable by `unwrap` alone."""
        key = self.key(name)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        hidden = _masked(key, nonce, data_key)
        return nonce + hidden + _tag(key, nonce + hidden)

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """Return the key that `wrap` wrapped. Raises ValueError where another key did."""
        key = self.key(name)
        body = wrapped[:-_TAG_BYTES]
        tag = wrapped[-_TAG_BYTES:]
        if not hmac.compare_digest(_tag(key, body), tag):
            raise ValueError("another key wrapped it")
        return _masked(key, body[:_NONCE_BYTES], body[_NONCE_BYTES:])


class EnvironmentKeys(KeySource):
    """Keys in environment variables."""

    def key(self, name: str) -> bytes:
        text = os.environ.get(name, "")
        if not text:
            raise JobError(
                f"the key env:{name} is missing: that environment variable is not set on this"
                f" machine. {_MAKE_ONE}, and set it on every machine."
            )
        where = f"env:{name}"
        return _decoded(text, where)


class FileKeys(KeySource):
    """Keys in files, such as those that a secret of Kubernetes mounts."""

    def key(self, name: str) -> bytes:
        try:
            text = Path(name).expanduser().read_text("ascii")
        except OSError as error:
            raise JobError(
                f"the key file:{name} is missing: {error.strerror}. {_MAKE_ONE}, and put it there"
                " on every machine."
            ) from None
        except UnicodeDecodeError:
            text = "?"
        where = f"file:{name}"
        return _decoded(text, where)


# by the scheme of their references
KEY_SOURCES: dict[str, KeySource] = {"env": EnvironmentKeys(), "file": FileKeys()}


def secret_key(reference: str) -> bytes:
    """Return the key that a reference names. Raises JobError, which never quotes a key."""
    source, name = _resolved(reference)
    return source.key(name)


def wrap_key(reference: str, data_key: bytes) -> bytes:
    """Return a file's key wrapped by the key that a reference names. Raises JobError."""
    source, name = _resolved(reference)
    return source.wrap(name, data_key)


def unwrap_key(reference: str, wrapped: bytes) -> bytes:
    """Return a file's key. Raises JobError, and StorageError where another key wrapped it."""
    source, name = _resolved(reference)
    try:
        return source.unwrap(name, wrapped)
    except ValueError:
        message = f"the key {reference} is not the one that this was encrypted with. Give that key."
        raise StorageError(message) from None


def key_check(reference: str) -> str:
    """Return by what a key is known again, and nothing else can be learned of a random one. Raises
    JobError."""
    key = secret_key(reference)
    return hmac.digest(key, b"distill: which key", "sha256")[:8].hex()


def _resolved(reference: str) -> tuple[KeySource, str]:
    scheme, _, name = reference.partition(":")
    if scheme not in KEY_SOURCES:
        known = ", ".join(f"{each}:" for each in KEY_SOURCES)
        raise JobError(
            f"a key's reference begins with {known}; what is given begins otherwise. Say where the"
            " key lies, or load the plugin of its service."
        )
    return KEY_SOURCES[scheme], name


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise JobError(f"the key {where} is no base64. {_MAKE_ONE}.") from None
    if len(key) < _FEWEST_BYTES:
        raise JobError(
            f"the key {where} has {len(key)} bytes; at least {_FEWEST_BYTES} are due. {_MAKE_ONE}."
        )
    return key


def _masked(key: bytes, nonce: bytes, data_key: bytes) -> bytes:
    """The data key under a one-time pad that key and nonce make."""
    # masked twice, the key is itself again
    pad = hmac.digest(key, b"distill: wrap" + nonce, "sha256")
    if len(data_key) > len(pad):
        raise ValueError(f"a data key of {len(data_key)} bytes; at most {len(pad)} are wrapped")
    return bytes(one ^ other for one, other in zip(data_key, pad, strict=False))


def _tag(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"distill: tag" + content, "sha256")
