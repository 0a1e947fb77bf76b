"""From a TOML file to a checked `Job`, or to one error: file, key, value and the way out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.core.errors import JobError
from distill.core.plugins import load_plugins
from distill.core.source import read_source
from distill.job.job import Job
from distill.job.problems import problem_lines
from distill.job.selection_pools import selection_pools
from distill.pools.corrections import corrections_path
from distill.pools.formats.corrected import CorrectedShard
from distill.pools.formats.selection import SelectionShard
from distill.spec.audit import split_path
from distill.spec.pools import CsvDialect, ImageFeatures, Pool
from distill.spec.prices import Prices
from distill.spec.uris import resolve_uri

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_job(path: str | Path, *, root: str | None = None) -> Job:
    """Read and resolve the job file at `path`; `root` replaces the file's own. Raises JobError."""
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
        tables = tomllib.loads(text)
    except OSError as error:
        raise JobError(
            f"{path}: {error.strerror}."
            " Give the path of a job file; `distill init POOL` writes one."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: not TOML: {error}") from None
    if root is not None:
        tables["root"] = root
    return _parse(tables, file, text)


def read_dialect(text: str, where: str) -> CsvDialect:
    """Read what a pool's `csv` would say, from a text that `where` gives. Raises JobError."""
    try:
        pool = {"path": ".", "csv": tomllib.loads(f"csv = {text}")["csv"]}
        read = Pool.model_validate_json(json.dumps(pool, default=str)).csv
        assert read is not None
        return read
    except tomllib.TOMLDecodeError:
        raise JobError(
            f"{where} {text!r}: is no table of TOML. Write as in a job: '{{ delimiter = \";\" }}'."
        ) from None
    except ValidationError as error:
        lines = [f"{where}: {line}" for line in problem_lines(error, pool, Pool)]
        raise JobError("\n".join(lines)) from None


def _parse(tables: dict[str, Any], file: Path, text: str) -> Job:
    """Return a resolved job from tables as TOML has them. Raises JobError, with every problem."""
    folder = file.parent.absolute()  # before any code of the user's, which may change the folder
    plugins = tables.get("plugins")
    _load_plugins(plugins, file, folder)
    try:
        # by way of JSON, since pydantic is strict and TOML's arrays are to become tuples
        # dates as text, since JSON has none: they are refused with everything else that is wrong
        plain = json.dumps(tables, default=str)
        job = Job.model_validate_json(plain)
    except ValidationError as error:
        lines = [f"{file}: {line}" for line in problem_lines(error, tables, Job)]
        raise JobError("\n".join(lines)) from None
    job._path = file
    job._folder = folder
    job._text = text
    return _resolved(job)


def _load_plugins(names: object, file: Path, folder: Path) -> None:
    """Run the job's plugins, so that its tables can be validated by their kinds."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return  # refused with everything else that is wrong
    try:
        load_plugins(
            read_source(folder / name, f"plugins.{number}") for number, name in enumerate(names)
        )
    except JobError as error:
        raise JobError(f"{file}: {error}") from error


def _resolved(job: Job) -> Job:
    """Return the job with class files read, features inherited, seeds and `on` filled in."""
    fit = {}
    for name, spec in job.fit.items():
        seed = job.seed if spec.seed is None else spec.seed
        fit[name] = spec.model_copy(update={"seed": seed})
    structure = {}
    for name, table in job.structure.items():
        seed = job.seed if table.seed is None else table.seed
        structure[name] = table.model_copy(update={"seed": seed})
    select = {}
    for name, choice in job.select.items():
        seed = job.seed if choice.seed is None else choice.seed
        select[name] = choice.model_copy(update={"seed": seed})
    declared = _pools(job)
    pools = _with_held_out(job, declared)
    pools |= _correction_pools(pools)
    pools |= selection_pools(job.select, pools)
    update = {"pools": pools}
    job = job.model_copy(update=update)
    students = {name: job.completed(student) for name, student in job.students.items()}
    filled_in: dict[str, Any] = {
        "fit": fit,
        "structure": structure,
        "select": select,
        "students": students,
    }
    if job.prices is not None and job.prices.file is not None:
        filled_in["prices"] = _prices_of(job, job.prices.file)
    resolved = job.model_copy(update=filled_in)
    resolved._path = job._path
    resolved._folder = job._folder
    resolved._text = job._text
    resolved._written = job.students
    return resolved


def _prices_of(job: Job, name: str) -> Prices:
    """Read the prices that lie in a file of their own. Raises JobError."""
    file = job.beside(name)
    where = f"{job.path}: prices.file = {str(file)!r}"
    try:
        text = file.read_text("utf-8-sig")
        tables = tomllib.loads(text)
    except OSError as error:
        raise JobError(f"{where}: {error.strerror}. Give a TOML file of prices.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobError(f"{where}: not TOML: {error}") from None
    try:
        prices = Prices.model_validate_json(json.dumps(tables, default=str))
    except ValidationError as error:
        lines = [f"{file}: {line}" for line in problem_lines(error, tables, Prices)]
        raise JobError("\n".join(lines)) from None
    if prices.file is not None:
        raise JobError(f"{where}: names another file. Write the prices themselves there.")
    return prices


def _pools(job: Job) -> dict[str, Pool]:
    """Return the pools with their classes; all with the features that one of them declares, where
    only one declaration is there."""
    pools = {name: _with_classes(job, name, pool) for name, pool in job.pools.items()}
    pools = {name: _with_preprocess(job, name, pool) for name, pool in pools.items()}
    declared = {pool.features: None for pool in pools.values() if pool.features}
    if len(declared) != 1:
        return pools
    (features,) = declared
    update = {"features": features}
    return {name: pool.model_copy(update=update) for name, pool in pools.items()}


def _with_preprocess(job: Job, name: str, pool: Pool) -> Pool:
    """Return the pool with what a model's own files say of the images that it wants."""
    features = pool.features
    if not isinstance(features, ImageFeatures) or features.preprocess is None:
        return pool
    preprocess = features.preprocess
    if preprocess.of is None:
        return pool
    # imported here, since few jobs need it
    from distill.models.image_config import resolve_preprocess

    uri = resolve_uri(preprocess.of.replace("{root}", job.root_uri), job.folder)
    where = f"{job.path}: pools.{name}.features.preprocess.of"
    resolved = resolve_preprocess(preprocess, uri, features.shape, where)
    update = {"preprocess": resolved}
    seen = features.model_copy(update=update)
    return pool.model_copy(update={"features": seen})


def _with_held_out(job: Job, pools: dict[str, Pool]) -> dict[str, Pool]:
    """Return the pools with the audited one split: under its name the rows that the job may learn
    from, beside it those that are held out of everything, and all of them."""
    audit = job.audit
    if audit is None or audit.share is None or audit.members not in pools:
        return pools
    whole = pools[audit.members]
    split = {audit.members: _split_of(whole, audit.members)}
    split[audit.others] = _split_of(whole, audit.others)
    return {**pools, **split, audit.whole: whole}


def _split_of(whole: Pool, name: str) -> Pool:
    made = {
        "path": f"{{root}}/{split_path(name)}",
        "format": SelectionShard.name,
        "csv": None,
        "made_by": None,
        "on_change": "refuse",
    }
    return whole.model_copy(update=made)


def _with_classes(job: Job, name: str, pool: Pool) -> Pool:
    """Return the pool with the classes that its file names, one a line."""
    if not isinstance(pool.classes, str):
        return pool
    file = job.beside(pool.classes)
    where = f"{job.path}: pools.{name}.classes = {str(file)!r}"
    try:
        text = file.read_text("utf-8-sig")
        lines = text.splitlines()
    except UnicodeDecodeError:
        raise JobError(f"{where}: is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        message = f"{where}: {error.strerror}. Give names, or a file with one a line."
        raise JobError(message) from None
    classes = tuple(line.strip() for line in lines if line.strip())
    names = set(classes)
    distinct = len(names)
    if not classes or distinct != len(classes):
        message = f"{where}: {len(classes)} names, {distinct} distinct. Each class stands once."
        raise JobError(message)
    update = {"classes": classes}
    return pool.model_copy(update=update)


def _correction_pools(pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """Return the pools whose files are corrections, as the rows of other pools that they are."""
    found = {}
    for name, pool in pools.items():
        if pool.corrects is None:
            continue
        base = pools.get(pool.corrects.removeprefix("pools."))
        # else it is refused with all other names that nothing has
        if base is not None and base.corrects is None:
            folder = corrections_path(name)
            path = f"{{root}}/{folder}"
            found[name] = pool.as_corrections(path, CorrectedShard.name, base)
    return found
