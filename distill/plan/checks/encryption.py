"""Keys that label sets are to be encrypted with: there before anything is paid for."""

from __future__ import annotations

from distill.core.errors import JobError
from distill.core.secret_keys import wrap_key
from distill.plan.tables import JobTables

_TRIED = bytes(32)


def check_encryption_keys(tables: JobTables) -> None:
    """Refuse label sets whose keys are missing or wrap nothing. Raises JobError."""
    for name, labels in tables.labels.items():
        if labels.encryption is None:
            continue
        try:
            wrap_key(labels.encryption.key, _TRIED)
        except JobError as error:
            raise JobError(f"{tables.path}: labels.{name}.encryption.key: {error}") from None
