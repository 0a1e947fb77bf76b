"""Keys that labels and answers are to be encrypted with: there before anything is paid for."""

from __future__ import annotations

from distill.core.errors import JobError
from distill.core.secret_keys import wrap_key
from distill.plan.tables import JobTables

_TRIED = bytes(32)


def check_encryption_keys(tables: JobTables) -> None:
    """Refuse tables whose keys are missing or wrap nothing. Raises JobError."""
    named = {f"labels.{name}": labels.encryption for name, labels in tables.labels.items()}
    named |= {f"apply.{name}": settings.encryption for name, settings in tables.apply.items()}
    for where, encryption in named.items():
        if encryption is None:
            continue
        try:
            wrap_key(encryption.key, _TRIED)
        except JobError as error:
            raise JobError(f"{tables.path}: {where}.encryption.key: {error}") from None
