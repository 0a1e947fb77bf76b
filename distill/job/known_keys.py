"""Which keys and kinds a table of a job file may have, by its JSON schema, and which of them an
unknown key may stand for: one that is spelled almost alike, or the name that the configurations of
other trainers have for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from distill.spec.described import DescribedSchema

Location = tuple[int | str, ...]  # where a mistake stands, as pydantic says it
Node = dict[str, Any]  # a part of the job file's JSON schema

# by the key of a job: what others call it
_OTHER_NAMES = {
    "batch_rows": (
        "batch batch_size bs per_device_train_batch_size rows_per_batch train_batch_size"
    ),
    "buckets": "num_buckets vocab_size",
    "cache_gb": "cache cache_size",
    "calibrate_on": "calibrate calibration",
    "checkpoint_steps": "save_steps",
    "classes": "class_names label_names labels names",
    "clip_norm": "clip_grad_norm grad_clip gradient_clip_val gradient_clipping max_grad_norm",
    "columns": "column cols fields",
    "components": "dim dims n_components n_dims num_components rank",
    "dropout": "dropout_rate drop p",
    "early_stop": "early_stopping",
    "encoding": "store storage",
    "epochs": "epoch max_epochs n_epochs nepochs num_epochs num_train_epochs",
    "evaluate": "eval evaluation test",
    "gives": "output outputs returns",
    "gpus": "device devices gpu n_gpus num_gpus",
    "hidden": "d_model hidden_dim hidden_dims hidden_layer_sizes hidden_size hidden_sizes units",
    "k": "clusters n_centroids n_clusters ncentroids num_clusters",
    "keys": "id id_column ids key",
    "kind": "name type",
    "labeler": "model teacher",
    "labels": "label teacher teachers",
    "layers": "depth n_layers num_layers",
    "learning_rate": "base_lr eta lr max_lr",
    "least": "delta min_delta",
    "max_rejected_fraction": "max_errors max_rejected max_skipped",
    "most": "max_len max_length max_tokens seq_len",
    "of": "data on over pool pools",
    "optimizer": "optim opt",
    "over": "data dataset datasets pool pools",
    "passes": "epochs iterations max_iter max_iterations n_iter niter num_iterations",
    "path": "dir directory file files folder uri url",
    "precision": "amp bf16 dtype fp16",
    "root": "out output output_dir save_dir workdir",
    "schedule": "lr_schedule lr_scheduler lr_scheduler_type scheduler",
    "seed": "random_seed random_state rng",
    "smoothing": "label_smoothing",
    "structure": "clustering clusters structures unsupervised",
    "students": "model student",
    "target": "label label_column target_column truth y",
    "temperature": "t tau temp",
    "terms": "loss losses objectives",
    "tolerance": "eps tol",
    "training": "train trainer",
    "warmup_fraction": "warmup warmup_epochs warmup_ratio warmup_steps",
    "weight": "alpha beta coef coefficient factor lam lambda lambda_ loss_weight",
    "weight_decay": "decay l2 wd",
    "workers": "n_workers nproc_per_node num_workers world_size",
}


class TableSchema:
    """The JSON schema of a job's tables, by locations in them."""

    def __init__(
        self, model: type[BaseModel], generator: type[GenerateJsonSchema] = GenerateJsonSchema
    ) -> None:
        self._model = model
        self._generator = generator

    @cached_property
    def _schema(self) -> Node:
        return self._model.model_json_schema(schema_generator=self._generator)

    @property
    def _defs(self) -> Node:
        defs: Node = self._schema.get("$defs", {})
        return defs

    @cached_property
    def _described(self) -> TableSchema:
        return TableSchema(self._model, DescribedSchema)

    def kinds(self, location: Location) -> list[str]:
        """Return what `kind` may say in the table due at a location; none where it has no kind."""
        found: list[str] = []
        for choice in self._choices_at(location):
            kind = choice.get("properties", {}).get("kind", {})
            found += [kind["const"]] if "const" in kind else kind.get("enum", [])
        return found

    def meaning(self, location: Location) -> str:
        """Return the first sentence that describes a key, in brackets; "" without one."""
        for node in self._described._nodes(location):
            if "description" in node:
                words = node["description"].split(". ")[0].rstrip(".").split()
                joined = " ".join(words)
                return f" ({joined})"
        return ""

    def hint(self, location: Location) -> str:
        """Return which key may be meant by an unknown one, after a blank: of its own table, of one
        in it, or of the one that it is in."""
        *parents, unknown = location
        name = str(unknown)
        above = tuple(parents)
        own = self._known(above)
        near = renamed(name, own) or difflib.get_close_matches(name, own, n=1)
        if not near:
            inner = {f"{key}.{each}": each for key in own for each in self._known((*parents, key))}
            near = [path for path, key in inner.items() if renamed(name, [key])]
        if not near:
            near = renamed(name, self._known(self._around(tuple(parents))))
            if near:
                nearest = near[0]
                return f" Did you mean {nearest!r}, in the table that has this one?"
        return f" Did you mean {near[0]!r}?" if near else " `distill schema` lists the known ones."

    def _around(self, location: Location) -> Location:
        """The table that has the one at a location; numbers and alternatives are none."""
        while location:
            *outer, last = location
            location = tuple(outer)
            if isinstance(last, str) and last not in self.kinds(location):
                break
        return location

    def _known(self, location: Location) -> list[str]:
        """The keys that a table may have."""
        known: list[str] = []
        for choice in self._choices_at(location):
            known += choice.get("properties", ())
        return known

    def _choices_at(self, location: Location) -> Iterator[Node]:
        for node in self._nodes(location):
            yield from self._choices(node)

    def _nodes(self, location: Location) -> list[Node]:
        nodes = [self._schema]
        for part in location:
            nodes = [below for node in nodes for below in self._below(node, part)]
        return nodes

    def _below(self, node: Node, part: int | str) -> Iterator[Node]:
        """Yield what a schema says of the item, the key or the chosen alternative `part`."""
        for choice in self._choices(node):
            properties = choice.get("properties", {})
            if isinstance(part, int):
                if "items" in choice:
                    yield choice["items"]
            elif part in properties:
                yield properties[part]
            elif "patternProperties" in choice:  # a table of the user's own names
                patterns = choice["patternProperties"]
                yield from patterns.values()
            elif isinstance(choice.get("additionalProperties"), dict):
                yield choice["additionalProperties"]
            elif properties.get("kind", {}).get("const") == part:
                yield choice

    def _choices(self, node: Node) -> Iterator[Node]:
        """Yield the alternatives of a schema, references followed."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            definition = self._defs[name]
            yield from self._choices(definition)
            return
        alternatives = [each for key in ("anyOf", "oneOf", "allOf") for each in node.get(key, ())]
        if not alternatives:
            yield node
        for alternative in alternatives:
            yield from self._choices(alternative)


def renamed(name: str, known: list[str]) -> list[str]:
    """Return those of the known keys that others call `name`, or that are it."""
    lower = name.lower()
    return [key for key in known if lower == key or lower in _OTHER_NAMES.get(key, "").split()]
