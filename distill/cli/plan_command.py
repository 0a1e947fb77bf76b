"""`distill plan`: what is left of a job and what it will take, before it is paid for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.options import Format, JobFile, Local, Ray, Root, Verbose, load
from distill.cli.process import LogFormat, process_edge
from distill.cli.terminal import print_table, say
from distill.core.amounts import UNKNOWN, amount, duration, money, size

if TYPE_CHECKING:
    from distill.core.costs import CostPlan, RowCost, StepCost

commands = typer.Typer()

_NO_PRICES = (
    "No money is said, since the job has no [prices]: give `on = 2026-11-29` and"
    " [[prices.instances]] with instance, market, dollars (an hour), cpus and gpus."
)


@commands.command()
def plan(
    job: JobFile,
    *,
    pilot: Annotated[
        bool,
        typer.Option(
            "--pilot/--no-pilot",
            help="Label some fragments first, which are kept; else by what is committed.",
        ),
    ] = True,
    workers: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Say the hours of so many workers; may be given several times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON alone.")] = False,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """What is left and what it will take, as ranges: hours, GPU-hours, money, bytes, requests."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = load(job, root)
        from distill.run import plan_costs

        tell = _say_nothing if as_json else say
        found = plan_costs(
            loaded, tell, pilot=pilot, workers=tuple(workers or ()), engine=process.engine
        )
        if as_json:
            typer.echo(json.dumps(found.to_plain(), indent=1, ensure_ascii=False))
        else:
            print_costs(found)


def print_costs(plan: CostPlan) -> None:
    """Print a plan of costs: its steps, and what a million rows cost of teacher and student."""
    prices = list(dict.fromkeys(name for step in plan.steps for name in step.dollars))
    prices += [
        name
        for each in plan.a_million_rows
        for name in each.dollars_a_million
        if name not in prices
    ]
    heads = [
        "left",
        "rows",
        "worker time",
        "by workers",
        "GPU time",
        "stored",
        "requests",
        "memory",
    ]
    rows = [[*_step_cells(step), *_dollars(step, prices)] for step in plan.steps]
    total = [
        "all of it",
        "",
        amount(plan.worker_hours, duration),
        "",
        "",
        amount(plan.bytes, size),
        "",
        "",
        *(amount(plan.dollars(name), money) for name in prices),
    ]
    print_table("", [*heads, *prices], [*rows, total])
    if plan.a_million_rows:
        lines = [_row_cells(each, prices) for each in plan.a_million_rows]
        print_table("A million rows", ["", "", "worker time", *prices], lines)
    for step in plan.steps:
        if step.note and step.rows_left:
            say(f"{step.step}: {step.note}")
    if plan.prices_on:
        say(f"Prices of {plan.prices_on}, of machines that are full of workers.")
    else:
        say(_NO_PRICES)
    say(
        "A teacher's time is to read, label and write; a student's to answer on one CPU. Ranges hold"
        " 95% of what the pilot's spread allows; ≥ has no upper end."
    )


def _step_cells(step: StepCost) -> list[str]:
    if not step.rows_left and step.rows:
        return [step.step, "done", "", "", "", "", "", ""]
    by_workers = [f"{number}: {amount(each, duration)}" for number, each in step.hours.items()]
    return [
        step.step,
        f"{step.rows_left:,}",
        amount(step.worker_hours, duration),
        "; ".join(by_workers) or UNKNOWN,
        amount(step.gpu_hours, duration) if step.gpus else "0",
        amount(step.bytes, size),
        amount(step.requests, lambda each: f"{each:,.0f}"),
        size(step.memory_bytes) if step.memory_bytes else UNKNOWN,
    ]


def _dollars(step: StepCost, prices: Sequence[str]) -> list[str]:
    if not step.rows_left and step.rows:
        return ["" for _ in prices]
    return [amount(step.dollars.get(name), money) for name in prices]


def _row_cells(each: RowCost, prices: Sequence[str]) -> list[str]:
    hours = each.seconds_a_million.times(1 / 3600)
    dollars = [amount(each.dollars_a_million.get(name), money) for name in prices]
    return [each.name, each.role, amount(hours, duration), *dollars]


def _say_nothing(_line: str) -> None:
    pass
