"""What a training leaves: the weights, and the record that makes the model exist."""

from __future__ import annotations

import hashlib
from typing import Any

import safetensors.torch

from distill.models.network import apart, head_parameters, parameter_count
from distill.models.record import ModelRecord, write_record
from distill.stages.train.checkpoint import Position
from distill.stages.train.early_stopping import best_epoch
from distill.stages.train.private_account import account_of, statement_of
from distill.stages.train.training_setup import TrainingSetup


def export_network(setup: TrainingSetup, position: Position, seconds: float) -> None:
    """Write the last weights, or those of the best epoch where a measure says which it is."""
    plan = setup.plan
    tensors = position.best or apart(setup.weights())
    weights = safetensors.torch.save(tensors)
    record = ModelRecord(
        name=plan.name,
        digest=plan.folder.rsplit("/", 1)[1],
        form="network",
        in_features=plan.plan.in_features,
        heads=plan.heads,
        widths={head: each.width for head, each in plan.plan.heads.items()},
        sha256=hashlib.sha256(weights).hexdigest(),
        parameters=parameter_count(setup.network),
        head_parameters=head_parameters(setup.network),
        plan=plan.plan.to_plain(),
        taught_by=plan.taught_by,
        details={**plan.description, **_details(setup, position, seconds)},
    )
    write_record(setup.folder, record, weights)


def _details(setup: TrainingSetup, position: Position, seconds: float) -> dict[str, Any]:
    """How the training went, for people."""
    details: dict[str, Any] = {}
    if setup.plan.training.private is not None:
        own = statement_of(setup.plan, account_of(setup)).as_json()
        details["privacy"] = [*setup.plan.description.get("privacy", ()), own]
    best = best_epoch(position.history)
    if best:
        details["epochs"] = len(position.history)
        details["best_epoch"] = best
    details["steps"] = position.step
    details |= _token_details(setup)
    details["rows"] = [dataset.rows for dataset in setup.plan.sources]
    details["seconds"] = round(seconds, 3)
    # what it cost: seconds of so many workers
    context = setup.context
    details["workers"] = context.workers
    details["device"] = context.device
    details["history"] = position.history
    # projections are no part of the model
    thrown_away = parameter_count(setup.trained) - parameter_count(setup.network)
    if thrown_away:
        details["projection_parameters"] = thrown_away
    return details


def _token_details(setup: TrainingSetup) -> dict[str, Any]:
    """How many texts were longer than is read of them."""
    # a student that reads no tokens says nothing of them
    reading = [dataset for dataset in setup.plan.sources if dataset.tokens is not None]
    if not reading or reading[0].tokens is None:
        return {}
    cut = sum(dataset.cut_texts for dataset in reading)
    texts = sum(dataset.rows for dataset in reading)
    return {"tokens": {"texts": texts, "cut": cut, "most_tokens": reading[0].tokens.most}}
