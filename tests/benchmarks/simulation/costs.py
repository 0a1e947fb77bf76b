"""What distill itself costs, as `python -m tests.benchmarks.calibrate` measures it: CPU seconds, so
that a loaded machine measures the same."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

MEASURED = Path(__file__).parent.parent / "results" / "costs.json"


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of one core of the machine that was measured."""

    driver_fragment_seconds: float
    """Of the driver's process: handing a fragment out, and taking its result."""
    driver_segment_seconds: float
    """Of the driver: one segment of the manifest, of a thousand commits."""
    worker_fragment_seconds: float
    """Of a worker: everything of a fragment that does not grow with its rows."""
    worker_row_seconds: float
    """Of a worker: reading, checking, encoding and digesting a row of numbers."""
    image_seconds: float
    """Decoding one JPEG of 256 × 256."""
    footer_seconds: float
    """Reading what a Parquet file says of itself."""
    plan_fragment_seconds: float
    """Of the driver before it begins: a fragment of the plan."""
    gets: float
    """Requests that read, a fragment."""
    puts: float
    """Requests that write, a fragment."""
    row_bytes: float
    """Of a row as labels."""

    def write(self, path: Path, note: str) -> None:
        """Keep the figures, and how they came about."""
        path.write_text(json.dumps({"note": note, **asdict(self)}, indent=1) + "\n", "utf-8")


def read_costs(path: Path = MEASURED) -> Costs:
    """Read what a calibration has written."""
    plain = json.loads(path.read_text("utf-8"))
    del plain["note"]
    return Costs(**plain)
