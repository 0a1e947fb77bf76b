"""Parquet files that nobody reads without a key: Parquet modular encryption, as pyarrow has it.

Each file has a random key of its own (256 bits, AES-GCM), under which the footer and *all* columns
are encrypted (`uniform_encryption`: a column without a key would stay plain text). That key lies in
the file wrapped by the one that a job names (`core.secret_keys`), beside that one's reference; so a
file tells its readers which key they need, and any tool that speaks Parquet's encryption reads it by
an unwrapping of the same form (FORMAT.md).

What a file says is authenticated: one changed bit, or another key, is an error by name.
"""

from __future__ import annotations

import base64
import functools
from typing import Any

import pyarrow as pa

from distill.core.errors import DistillError, StorageError
from distill.core.secret_keys import unwrap_key, wrap_key

MAGIC = b"PARE"
"""How a file begins and ends whose footer is encrypted."""
_KEY_BITS = 256
_ARROW_SCHEMA = b"ARROW:schema"


def encryption_of(reference: str) -> Any:
    """Return the properties by which `ParquetWriter` encrypts one file under a key of its own, which
    the key at `reference` wraps. Raises JobError where that is missing."""
    from pyarrow.parquet import encryption

    config = encryption.EncryptionConfiguration(
        footer_key=reference,
        uniform_encryption=True,
        double_wrapping=False,
        data_key_length_bits=_KEY_BITS,
    )
    connection = encryption.KmsConnectionConfig()
    return _factory().file_encryption_properties(connection, config)


def is_encrypted(content: bytes) -> bool:
    """Whether a file's footer is encrypted."""
    return content[: len(MAGIC)] == MAGIC


def read_encrypted(content: bytes, where: str) -> pa.Table:
    """Read a file that was written with `encryption_of`. Raises StorageError for damage and for
    another key, JobError for a missing one."""
    from pyarrow.parquet import encryption

    connection = encryption.KmsConnectionConfig()
    decryption = _factory().file_decryption_properties(connection)
    try:
        buffer = pa.py_buffer(content)
        import pyarrow.parquet as pq

        with pq.ParquetFile(
            buffer, decryption_properties=decryption, page_checksum_verification=True
        ) as file:
            # types beyond the plain ones, which distill never writes
            if _ARROW_SCHEMA in (file.metadata.metadata or {}):
                raise StorageError(f"{where} has Arrow types, which distill never writes.")
            return file.read(use_threads=False)
    except DistillError as error:
        raise type(error)(f"{where} is encrypted: {error}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StorageError(
            f"{where} is damaged, or was encrypted otherwise: {error}. Restore it from a copy."
        ) from None


@functools.cache
def _factory() -> Any:
    # imported here: most label sets are not encrypted
    from pyarrow.parquet import encryption

    class Wrapping(encryption.KmsClient):  # type: ignore[misc]
        """Wraps the keys of files, as pyarrow asks for it."""

        def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
            return base64.b64encode(wrap_key(master_key_identifier, key_bytes)).decode()

        def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
            return unwrap_key(master_key_identifier, base64.b64decode(wrapped_key))

    return encryption.CryptoFactory(lambda _: Wrapping())
