"""`distill plan`: what is left of a job and what it will take, before it is paid for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.options import JobFile, Work, working
from distill.cli.terminal import console, print_table, say
from distill.core.amounts import UNKNOWN, amount, duration, money, size

if TYPE_CHECKING:
    from distill.core.costs import CostPlan, RowCost, StepCost

commands = typer.Typer()

_NO_PRICES = (
    "No money is said, since the job has no [prices]: give `on = 2026-11-29` and"
    " [[prices.instances]] with instance, market, dollars (an hour), cpus and gpus."
)


@commands.command()
@working
def plan(
    file: JobFile,
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
    as_json: Annotated[
        bool, typer.Option("--json", help="The same as JSON, alone on standard output.")
    ] = False,
    work: Work,
) -> None:
    """What is left and what it will take, as ranges: hours, GPU-hours, money, bytes, requests."""
    # what is for people goes beside the JSON
    console.stderr = as_json
    with work.begin() as process:
        loaded = work.load(file)
        from distill.cli.cascades import print_cascades
        from distill.run import plan_cascades, plan_costs

        found = plan_costs(
            loaded, say, pilot=pilot, workers=tuple(workers or ()), engine=process.engine
        )
        cascades = plan_cascades(loaded)
        if as_json:
            plain = found.to_plain()
            if cascades:
                plain["cascades"] = [each.to_plain() for each in cascades]
            typer.echo(json.dumps(plain, indent=1, ensure_ascii=False))
        else:
            print_costs(found)
            print_cascades(list(loaded.cascade), cascades)


def print_costs(plan: CostPlan) -> None:
    """Print a plan of costs: what is left, its money, and what a million rows cost of teacher and
    student."""
    _print_left(plan)
    _print_done(plan)
    prices = _prices(plan)
    if prices:
        _print_money(plan, prices)
    if plan.a_million_rows:
        lines = [_row_cells(each, prices) for each in plan.a_million_rows]
        print_table("A million rows", ["", "", "worker time", *prices], lines)
    for step in plan.steps:
        if step.note and _is_left(step):
            say(f"{step.step}: {step.note}")
    if plan.prices_on:
        say(f"Prices of {plan.prices_on}, of machines that are full of workers.")
    else:
        say(_NO_PRICES)
    say(
        "A teacher's time is to read, label and write; a student's to answer on one CPU. Ranges are"
        " meant to hold in 19 of 20 runs, by the pilot's spread; ≥ has no upper end."
    )


def _print_left(plan: CostPlan) -> None:
    numbers = dict.fromkeys(number for step in plan.steps for number in step.hours)
    workers = sorted(numbers, key=int)
    heads = [f"on {number}" for number in workers]
    rows = [_step_cells(step, workers) for step in plan.steps]
    total = amount(plan.worker_hours, duration)
    stored = amount(plan.bytes, size)
    rows.append(["all of it", "", total, *("" for _ in workers), "", stored, "", ""])
    print_table(
        "What is left",
        ["", "rows", "worker time", *heads, "GPU time", "stored", "requests", "memory"],
        rows,
    )


def _print_done(plan: CostPlan) -> None:
    """Print of the steps that are done what was planned and what they took."""
    done = [step for step in plan.steps if not _is_left(step) and step.planned_worker_hours]
    rows = [
        [
            step.step,
            amount(step.planned_worker_hours, duration),
            duration(step.spent_worker_hours),
            amount(step.planned_bytes, size) if step.spent_bytes else "",
            size(step.spent_bytes) if step.spent_bytes else "",
        ]
        for step in done
    ]
    if rows:
        print_table("What is done", ["", "planned", "took", "to be stored", "stored"], rows)


def _print_money(plan: CostPlan, prices: Sequence[str]) -> None:
    left = [step for step in plan.steps if _is_left(step)]
    rows = [
        [step.step, *(amount(step.dollars.get(name), money) for name in prices)] for step in left
    ]
    total = [amount(plan.dollars(name), money) for name in prices]
    print_table("Its money", ["", *prices], [*rows, ["all of it", *total]])


def _prices(plan: CostPlan) -> list[str]:
    """The machines that anything has a price on."""
    of_steps = [name for step in plan.steps for name in step.dollars]
    of_rows = [name for each in plan.a_million_rows for name in each.dollars_a_million]
    return list(dict.fromkeys([*of_steps, *of_rows]))


def _is_left(step: StepCost) -> bool:
    return bool(step.rows_left or not step.rows)


def _step_cells(step: StepCost, workers: Sequence[str]) -> list[str]:
    if not _is_left(step):
        return [step.step, "done", "", *("" for _ in workers), "", "", "", ""]
    return [
        step.step,
        f"{step.rows_left:,}",
        amount(step.worker_hours, duration),
        *(amount(step.hours.get(number), duration) for number in workers),
        amount(step.gpu_hours, duration) if step.gpus else "0",
        amount(step.bytes, size),
        amount(step.requests, lambda each: f"{each:,.0f}"),
        size(step.memory_bytes) if step.memory_bytes else UNKNOWN,
    ]


def _row_cells(each: RowCost, prices: Sequence[str]) -> list[str]:
    hours = each.seconds_a_million.times(1 / 3600)
    dollars = [amount(each.dollars_a_million.get(name), money) for name in prices]
    return [each.name, each.role, amount(hours, duration), *dollars]
