"""A trained network as a labeler: the teacher f_L, and every student.

Weights and plan come from storage; the source of a network of the user's own comes from whoever
asks: the job, or the person at the terminal.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import safetensors.torch
import torch

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import computing
from distill.labelers.shared_pass import SharedPass
from distill.models.custom_source import Code, revision_of
from distill.models.network import MultiHead, as_tensor
from distill.models.record import ModelRecord, NetworkPlan, read_weights
from distill.models.text_tokens import padded
from distill.pools.ngrams import ngram_places
from distill.storage.open import open_storage


class NetworkLabeler:
    """The outputs of one head of a network."""

    def __init__(
        self, network: MultiHead, *, head: str, device: str, precision: str = "float32"
    ) -> None:
        moved = network.to(device)
        self.network = moved.eval()
        self.head = head
        self.device = device
        self.precision = precision
        self.heads = SharedPass(self._all_heads)

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
        """Load it from storage, the weights' sha256 checked. Without `head`: the first. Raises
        StorageError, and as `network_of`."""
        network = load_network(folder, record, code)
        first_head = next(iter(record.heads))
        return cls(network, head=head or first_head, device=device, precision=precision)

    def prepare(self, features: Inputs) -> Inputs:
        """Return text as buckets of its n-grams or as tokens; numbers and images as they are."""
        return as_input(self.network, features)

    def label(self, features: Inputs) -> Matrix:
        """Return (rows, width), of what `prepare` returned."""
        return as_answer(self.heads(features)[self.head])

    def of_head(self, head: str) -> NetworkLabeler:
        """Return the labeler of another head, which both answer by one pass."""
        other = copy.copy(self)
        other.head = head
        self.heads.is_shared = True
        return other

    def _all_heads(self, features: Inputs) -> dict[str, torch.Tensor]:
        rows = as_tensor(features, self.device)
        with computing(self.device, self.precision):
            heads: dict[str, torch.Tensor] = self.network(rows)
        return heads


def as_input(network: MultiHead, features: Inputs) -> Inputs:
    """Return features as `as_tensor` takes them for this network. Raises LabelerError where it
    reads text and they are none, or the other way."""
    if features.dtype == object:
        if network.tokens is not None:
            texts = features.tolist()
            return padded(network.tokens.encode(texts))
        if network.ngrams is None:
            raise _wrong_features("numbers", "text")
        return ngram_places(features, network.ngrams)
    if network.ngrams is not None or network.tokens is not None:
        raise _wrong_features("text", "numbers")
    return features


def _wrong_features(reads: str, given: str) -> LabelerError:
    return LabelerError(
        f"the network reads {reads}, and is given {given}. Give the pool other features."
    )


def as_answer(outputs: torch.Tensor) -> Matrix:
    """Return a network's outputs (B, width) as float32 in this machine's memory."""
    # through float32, since numpy has no bfloat16
    array: Matrix = outputs.float().cpu().numpy()
    return array.astype(np.float32, copy=False)


def load_network(folder: str, record: ModelRecord, code: Code | None = None) -> MultiHead:
    """Load a trained network from its plan, its safetensors and the source of the user's own parts.
    Raises StorageError, and as `network_of`."""
    storage = open_storage(folder)
    weights = read_weights(storage, record)
    return network_of(record, weights, code)


def network_of(record: ModelRecord, weights: bytes, code: Code | None = None) -> MultiHead:
    """Build a network from its record and its safetensors. Raises as `network_of_tensors`."""
    return network_of_tensors(record, safetensors.torch.load(weights), code)


def network_of_tensors(
    record: ModelRecord, tensors: Mapping[str, torch.Tensor], code: Code | None = None
) -> MultiHead:
    """Build a network from its record and its weights. Raises LabelerError where `code` is not what
    the record was trained with."""
    assert record.plan is not None
    plan = NetworkPlan.from_plain(record.plan, code)
    # before it is built: what a class of another revision raises there would mislead
    for key in plan.own:
        _require_trained_revision(record, plan, key)
    network = MultiHead(plan, tensors)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        # names or shapes of parameters that differ: of ours a mistake in distill, not of the user
        if not plan.own:
            raise
        raise LabelerError(
            f"the weights of {record.name} do not fit {_classes(plan)}, which changed since they"
            f" were trained. Restore it, or change its `revision`, and train anew.\n{error}"
        ) from None
    return network.eval()


def _require_trained_revision(record: ModelRecord, plan: NetworkPlan, key: str) -> None:
    """Refuse a network of the user's own without its source, or of another revision than it was
    trained with. Raises LabelerError."""
    assert record.plan is not None
    model = plan.own[key]
    due = record.plan["code"][key]["revision"]
    if key not in plan.code:
        raise LabelerError(
            f"{record.name} has a network of the user's own ({key}: class {model.name}, revision"
            f" {due!r}), whose source is never taken from storage. Say which file beside the job"
            " has it: `file` of a labeler of kind 'student'."
        )
    found = revision_of(model, plan.code[key], key)
    if found != due:
        raise LabelerError(
            f"{record.name} was trained with revision {due!r} of its {key}, but {_classes(plan)} is"
            f" of revision {found!r}. Give the file of then."
        )


def _classes(plan: NetworkPlan) -> str:
    """Name the user's classes and their files, for people."""
    own = plan.own.items()
    named = [f"{model.name} in {plan.code[key].path}" for key, model in own if key in plan.code]
    return ", ".join(named)
