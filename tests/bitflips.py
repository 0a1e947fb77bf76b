"""Random bit flips and truncations of a stored label set: `python -m tests.bitflips --flips 10000
--seed 1`.

Each damages one object on disk and reads it as the product does. What is read must be the value
that was stored, or the error must be one of ours that names the object; everything else is `wrong`.
A flip that no digest covers reads as the same value, or is wrong: there is no third way.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import DistillError
from distill.core.schema import columns_sha256
from distill.labels.commit import Commit, read_rejects
from distill.labels.contract import Contract, read_contract
from distill.labels.label_set import LabelSet
from distill.labels.state import read_label_set
from distill.pools.inventory import read_inventory
from distill.storage.open import open_storage
from tests.making import a_topk_contract, list_pool, write_label_set, writer_of
from tests.tiny import write_pool

SHARDS = (150, 0, 70)
FRAGMENT_ROWS = 64


@dataclass(frozen=True)
class Target:
    """One stored object: its kind, its file, and how the product reads it."""

    kind: str
    file: Path
    read: Callable[[], Any]


def store(folder: Path) -> list[Target]:
    """A label set with rejected rows in `folder`, and all of its objects."""
    write_pool(folder / "pool", SHARDS)
    inventory = list_pool(folder / "root", folder / "pool")
    contract = a_topk_contract(300, 4, (1.0, 4.0))
    outputs = np.random.default_rng(0).normal(size=(sum(SHARDS), 300)).astype(np.float32)
    made = write_label_set(
        folder / "set",
        contract,
        inventory,
        fragment_rows=FRAGMENT_ROWS,
        outputs=outputs,
        rejected=(3, 80, 200),
    )
    writer_of(made).write_manifest()
    return [*_labels(made, contract), *_lists(folder, made)]


def _labels(made: LabelSet, contract: Contract) -> list[Target]:
    root, found = Path(made.folder.uri), []
    for line in made.entries:
        key = f"commits/{line.fragment}.{line.generation}.json"
        found.append(
            Target(
                "label data", root / line.data, lambda line=line: columns_sha256(made.read(line))
            )
        )
        found.append(
            Target(
                "commit",
                root / key,
                lambda key=key: asdict(
                    Commit.from_bytes(made.folder.read(key), made.folder.url(key))
                ),
            )
        )
        if line.rejects:
            rejects = line.rejects
            found.append(
                Target(
                    "rejects",
                    root / rejects,
                    lambda rejects=rejects: read_rejects(made.folder, rejects).to_pydict(),
                )
            )
    return found


def _lists(folder: Path, made: LabelSet) -> list[Target]:
    def entries() -> Any:
        return list(read_label_set(made.folder, made.name, made.version).entries)

    def contract() -> Any:
        stored = read_contract(made.folder)
        return stored and (stored.contract.meaning, dict(stored.contract.versions))

    def inventory() -> Any:
        return read_inventory(open_storage(str(folder / "root")), "pool", str(folder / "pool"))

    root = Path(made.folder.uri)
    manifest = [Target("manifest", file, entries) for file in (root / "manifest").iterdir()]
    listed = (folder / "root" / "inventories" / "pool").iterdir()
    return [
        *manifest,
        *(Target("inventory", file, inventory) for file in listed),
        Target("contract", root / "contract.json", contract),
    ]


@dataclass(frozen=True)
class Seen:
    """What came of one damage."""

    kind: str
    how: str
    outcome: str
    """`named`, `same value`, or `wrong`."""
    where: str


def damage(targets: list[Target], flips: int, seed: int) -> list[Seen]:
    """Damage `flips` times, kind by kind in turn, one object at a time; each is as it was
    afterwards."""
    draw, kinds = random.Random(seed), sorted({target.kind for target in targets})
    of_kind = {kind: [target for target in targets if target.kind == kind] for kind in kinds}
    stored = {target.file: (target.file.read_bytes(), target.read()) for target in targets}
    found = []
    for number in range(flips):
        target = draw.choice(of_kind[kinds[number % len(kinds)]])
        content, value = stored[target.file]
        at = draw.randrange(8 * len(content))
        how = "truncation" if draw.random() < 0.2 else "flip"
        target.file.write_bytes(content[: at // 8] if how == "truncation" else flipped(content, at))
        found.append(Seen(target.kind, how, _outcome(target, value), f"{target.file}, bit {at}"))
        target.file.write_bytes(content)
    return found


def flipped(content: bytes, bit: int) -> bytes:
    """`content` with one bit the other way."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _outcome(target: Target, value: Any) -> str:
    try:
        return "same value" if target.read() == value else "wrong"
    except DistillError as error:
        return "named" if target.file.name in str(error) else "wrong"
    except Exception as error:  # noqa: BLE001  whatever it is, it is not one of ours
        return f"wrong: {type(error).__name__}"


def table(found: list[Seen]) -> str:
    """Outcomes by kind of object."""
    outcomes = [
        "named",
        "same value",
        *sorted({seen.outcome for seen in found} - {"named", "same value"}),
    ]
    counts = Counter((seen.kind, seen.how, seen.outcome) for seen in found)
    lines = [f"{'':14}{'':12}" + "".join(f"{outcome:>14}" for outcome in outcomes)]
    for kind, how in sorted({(seen.kind, seen.how) for seen in found}):
        lines += [
            f"{kind:14}{how:12}"
            + "".join(f"{counts[kind, how, outcome]:14,}" for outcome in outcomes)
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bitflips", description=__doc__)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        found = damage(store(Path(folder)), asked.flips, asked.seed)
    print(table(found))
    wrong = [seen for seen in found if seen.outcome.startswith("wrong")]
    for seen in wrong[:20]:
        print(f"{seen.outcome}: {seen.kind}, {seen.how}, {seen.where}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
