"""A trained network as a labeler: the teacher f_L, and every student.

Weights and plan come from storage; the source of a network of the user's own comes from whoever
asks: the job, or the person at the terminal.
"""

from __future__ import annotations

import numpy as np
import safetensors.torch
import torch

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import computing
from distill.models.custom_source import Code, revision_of
from distill.models.network import MultiHead, as_tensor
from distill.models.record import ModelRecord, NetworkPlan, read_weights
from distill.pools.ngrams import ngram_places
from distill.storage.open import open_storage


class NetworkLabeler:
    """Answers with one head of a network."""

    def __init__(
        self, network: MultiHead, *, head: str, device: str, precision: str = "float32"
    ) -> None:
        self.network = network.to(device).eval()
        self.head, self.device, self.precision = head, device, precision

    @classmethod
    def load(
        cls,
        folder: str,
        record: ModelRecord,
        *,
        code: Code | None = None,
        device: str = "cpu",
        precision: str = "float32",
        head: str = "",
    ) -> NetworkLabeler:
        """From storage, the weights' sha256 checked. Without `head`: the first. Raises
        StorageError, and as `network_of`."""
        network = load_network(folder, record, code)
        return cls(
            network, head=head or next(iter(record.heads)), device=device, precision=precision
        )

    def prepare(self, features: Inputs) -> Inputs:
        """Text as the places of its n-grams; numbers and images as they are."""
        return as_input(self.network, features)

    def label(self, features: Inputs) -> Matrix:
        """Of what `prepare` made."""
        with computing(self.device, self.precision):
            answered = self.network(as_tensor(features, self.device))[self.head]
        return as_answer(answered)


def as_input(network: MultiHead, features: Inputs) -> Inputs:
    """Features as `as_tensor` takes them for this network. Raises LabelerError where it reads text
    and they are none, or the other way."""
    texts = features.dtype == object
    if texts != (network.ngrams is not None):
        reads, given = ("numbers", "text") if texts else ("text", "numbers")
        raise LabelerError(
            f"the network reads {reads}, and is given {given}. Give the pool other features."
        )
    return features if network.ngrams is None else ngram_places(features, network.ngrams)


def as_answer(answered: torch.Tensor) -> Matrix:
    """A network's answer (B, width) as float32 on this side."""
    made: Matrix = answered.float().cpu().numpy().astype(np.float32, copy=False)
    return made


def load_network(folder: str, record: ModelRecord, code: Code | None = None) -> MultiHead:
    """A trained network from its plan, its safetensors and the source of the user's own parts.
    Raises StorageError, and as `network_of`."""
    return network_of(record, read_weights(open_storage(folder), record), code)


def network_of(record: ModelRecord, weights: bytes, code: Code | None = None) -> MultiHead:
    """A network from its record and the bytes of its safetensors. Raises LabelerError where `code`
    is not what the record was trained with."""
    assert record.plan is not None
    plan = NetworkPlan.from_plain(record.plan, code)
    for key, model in plan.own.items():
        _require_revision(
            record, plan, key, revision_of(model, plan.code[key], key) if key in plan.code else None
        )
    network = MultiHead(plan)
    try:
        network.load_state_dict(safetensors.torch.load(weights))
    except RuntimeError as error:
        if not plan.own:
            raise
        raise LabelerError(
            f"the weights of {record.name} do not fit {_classes(plan)}, which changed since they"
            f" were trained. Restore it, or change its `revision`, and train anew.\n{error}"
        ) from None
    return network.eval()


def _require_revision(record: ModelRecord, plan: NetworkPlan, key: str, found: str | None) -> None:
    assert record.plan is not None
    due = record.plan["code"][key]["revision"]
    if found is None:
        raise LabelerError(
            f"{record.name} has a network of the user's own ({key}: class {plan.own[key].name},"
            f" revision {due!r}), whose source is never taken from storage. Say which file beside"
            " the job has it: `file` of a labeler of kind 'student'."
        )
    if found != due:
        raise LabelerError(
            f"{record.name} was trained with revision {due!r} of its {key}, but {_classes(plan)} is"
            f" of revision {found!r}. Give the file of then."
        )


def _classes(plan: NetworkPlan) -> str:
    return ", ".join(
        f"{model.name} in {plan.code[key].path}"
        for key, model in plan.own.items()
        if key in plan.code
    )
