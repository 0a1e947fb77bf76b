"""Networks in plain torch (`network`), and what is kept of a trained model (`record`, torch-free)."""

from __future__ import annotations

from distill.models.record import (
    HeadPlan,
    ModelRecord,
    NetworkPlan,
    Trained,
    read_record,
    read_weights,
    record_from_plain,
    write_record,
)

__all__ = [
    "HeadPlan",
    "ModelRecord",
    "NetworkPlan",
    "Trained",
    "read_record",
    "read_weights",
    "record_from_plain",
    "write_record",
]
