"""All teachers of a fit as one model: their weights stacked, the teacher first."""

from __future__ import annotations

import hashlib

import numpy as np
import safetensors.numpy

from distill.core.errors import ContractError
from distill.models.record import (
    ModelRecord,
    Trained,
    read_record,
    read_weights,
    weights_bytes,
    write_record,
)
from distill.plan.teachers import GatherStep
from distill.storage.open import open_storage


def gather_teachers(step: GatherStep) -> Trained:
    """Write the model of all teachers, unless it is done. Raises ContractError where one is not
    trained, StorageError."""
    name = f"fit.{step.name}"
    if step.record is not None:
        return Trained(name, step.record, now=False)
    records = []
    stacks: dict[str, list[np.ndarray]] = {}
    for uri in step.teachers:
        folder = open_storage(uri)
        record = read_record(folder)
        if record is None:
            raise ContractError(f"{name}: the teacher in {uri} is not trained. Run it again.")
        weights = safetensors.numpy.load(read_weights(folder, record))
        for key, values in weights.items():
            stacks.setdefault(key, []).append(values)
        records.append(record)
    content = weights_bytes({key: np.stack(values) for key, values in stacks.items()})
    folder = open_storage(step.folder)
    first = records[0]
    record = ModelRecord(
        name=step.name,
        digest=step.folder.rsplit("/", 1)[1],
        form="teachers",
        in_features=first.in_features,
        heads=first.heads,
        widths=first.widths,
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=sum(each.parameters for each in records),
        plan=first.plan,
        taught_by=step.taught_by,
        details={"teachers": len(records)},
    )
    return Trained(name, write_record(folder, record, content), now=True)
