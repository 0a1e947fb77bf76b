"""The keys of a SkyPilot task that our files use, as a JSON Schema: its own is made by code of a package
with hundreds of dependencies. Held against sky/utils/schemas.py of August 2026."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


_NUMBER: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string", "minLength": 1}
_SIZE: Schema = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d+\+?$"}]}
_ENVIRONMENT: Schema = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z_][a-zA-Z0-9_]*$": {"type": ["string", "null"]}},
    "additionalProperties": False,
}
_RESOURCES = _object(
    infra=_TEXT,
    accelerators={"type": "object", "additionalProperties": {"type": "number"}},
    cpus=_SIZE,
    memory=_SIZE,
    use_spot={"type": "boolean"},
    disk_size={"type": "integer"},
    image_id=_TEXT,
    autostop=_object(idle_minutes=_NUMBER, down={"type": "boolean"}),
    job_recovery=_object(
        strategy=_TEXT, max_restarts_on_errors=_NUMBER, recover_on_exit_codes={"type": "array"}
    ),
)
_POOL = _object(
    workers=_NUMBER,
    min_workers=_NUMBER,
    max_workers=_NUMBER,
    queue_length_threshold={"type": "integer", "minimum": 1},
    upscale_delay_seconds={"type": "number", "minimum": 0},
    downscale_delay_seconds={"type": "number", "minimum": 0},
)
TASK = _object(
    name=_TEXT,
    workdir=_TEXT,
    num_nodes={"type": "integer", "minimum": 1},
    resources=_RESOURCES,
    pool=_POOL,
    setup=_TEXT,
    run=_TEXT,
    envs=_ENVIRONMENT,
    secrets=_ENVIRONMENT,
)
