"""The simulation against closed forms, and against real labellings of small size."""

from __future__ import annotations

import statistics
from dataclasses import replace
from time import process_time

import numpy as np
import pytest

from distill.core import events
from distill.run import label_pools
from tests.benchmarks import simulate as command
from tests.benchmarks.simulation.costs import Costs, read_costs
from tests.benchmarks.simulation.model import Case, simulate, start_seconds
from tests.benchmarks.simulation.study import labelling
from tests.tiny import tiny_job, write_pool
from tests.waiting import slowness

FREE = Costs(
    driver_fragment_seconds=0.0,
    driver_segment_seconds=0.0,
    worker_fragment_seconds=0.0,
    worker_row_seconds=0.0,
    image_seconds=0.0,
    footer_seconds=0.0,
    plan_fragment_seconds=0.0,
    gets=1.0,
    puts=2.0,
    row_bytes=0.0,
)
CASE = Case(rows=1_000_000, fragment_rows=1_000, gpus=1, rows_a_second=1_000.0)
TOLERANCE = 0.25
"""Of a real labelling on an idle machine, beside what is predicted: CPU-seconds that pass while the
labeler sleeps are counted too."""


def test_one_worker_takes_longer_than_its_rows():
    outcome = simulate(CASE, FREE)
    assert outcome.seconds == pytest.approx(1_000)
    assert outcome.efficiency == pytest.approx(1)
    assert outcome.binds == "GPU"


def test_a_thousand_workers_without_costs_are_not_a_thousand_times_as_fast():
    outcome = simulate(replace(CASE, rows=100_000_000, gpus=1_000), FREE)
    assert outcome.seconds == pytest.approx(100)
    assert outcome.busy["GPU"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("costs", "case", "seconds", "binds"),
    [
        ({"driver_fragment_seconds": 0.01}, {"gpus": 1_000}, 10.0, "driver"),
        # four tasks ahead each: the last 4,000 of 10,000 wait for no segment
        ({"driver_segment_seconds": 30.0}, {"gpus": 1_000, "rows": 10_000_000}, 180.0, "driver"),
        ({}, {"gpus": 1_000, "puts_a_second": 100.0}, 20.0, "PUT"),
        ({}, {"gpus": 1_000, "gets_a_second": 50.0}, 20.0, "GET"),
        ({"worker_row_seconds": 0.016}, {"gpus": 10, "cpus": 8.0}, 200.0, "CPU"),
        ({"image_seconds": 0.016}, {"gpus": 10, "decodes": True}, 200.0, "CPU"),
    ],
)
def test_what_binds_alone_does_not_set_the_time(costs, case, seconds, binds):
    outcome = simulate(replace(CASE, **case), replace(FREE, **costs))
    assert outcome.seconds == pytest.approx(seconds, rel=0.15)
    assert outcome.binds == binds


def test_drivers_or_prefixes_do_not_share_what_one_cannot_do():
    slow = replace(FREE, driver_fragment_seconds=0.01)
    case = replace(CASE, rows=10_000_000, gpus=1_000, drivers=4)
    assert simulate(case, slow).seconds == pytest.approx(25, rel=0.06)
    many = replace(CASE, rows=10_000_000, gpus=1_000, puts_a_second=100.0, prefixes=4)
    assert simulate(many, FREE).seconds == pytest.approx(50, rel=0.15)


def test_two_calls_hide_no_latency_or_one_hides_it():
    """A fragment is 1 s on the GPU, and 0.5 s of requests."""
    case = replace(CASE, request_seconds=0.5 / 3)
    assert simulate(case, FREE).seconds == pytest.approx(1_000, rel=0.01)
    assert simulate(replace(case, calls=1), FREE).seconds == pytest.approx(1_500, rel=0.01)


def test_lost_workers_cost_another_time_than_they_were_away_and_what_they_had_in_work():
    """Each loss is its replacement's time, and on the average half a fragment and what its second
    call had read."""
    hourly = 6.0
    case = replace(CASE, rows=72_000_000, gpus=20, losses_an_hour=hourly, replaced_seconds=60.0)
    outcome = simulate(case, FREE)
    hours = 20 * outcome.seconds / 3_600
    assert outcome.lost == pytest.approx(hourly * hours * (1 - hourly * 60 / 3_600), rel=0.25)
    wasted = outcome.lost * (60 + 0.5)
    assert outcome.seconds == pytest.approx(3_600 + wasted / 20, rel=0.03)
    assert outcome.lost <= outcome.repeated <= 2 * outcome.lost


def test_a_lost_worker_leaves_its_fragments_to_nobody():
    case = replace(CASE, rows=100_000, gpus=3, losses_an_hour=100.0, replaced_seconds=10.0)
    for seed in range(20):
        outcome = simulate(case, FREE, seed)
        assert outcome.seconds >= 100 / 3


def test_the_same_seed_draws_other_losses():
    case = replace(CASE, losses_an_hour=10.0)
    assert simulate(case, FREE, 3) == simulate(case, FREE, 3)
    assert simulate(case, FREE, 3) != simulate(case, FREE, 4)


def test_the_start_is_not_listing_footers_and_plan():
    case = replace(CASE, request_seconds=0.1)
    costs = replace(FREE, footer_seconds=0.3, plan_fragment_seconds=0.001)
    seconds = start_seconds(case, costs, files=2_500, list_keys=1_000, readers=50)
    assert seconds == pytest.approx(3 * 0.1 + 50 * 0.5 + 1_000 * 0.001)


def test_a_thousand_gpus_on_images_or_pages_are_further_from_linear_than_a_tenth():
    """The claim of the report, at its smallest size that has the same fragments a GPU."""
    for labeler in ("embedding of a page", "image, ViT-B/16"):
        case = labelling(labeler, 1_000_000_000, 1_000, cpus=32.0)
        outcome = simulate(case, read_costs())
        assert outcome.efficiency > 0.88, labeler


SLEEPER = """
import time


class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        time.sleep(len(features) * 0.002)
        return features[:, :3]
"""
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    batch_rows = 64
"""


def test_a_real_labelling_takes_another_time_than_is_predicted(tmp_path, monkeypatch):
    """The local engine: one call at a time, on this machine's disk, with the costs as measured."""
    monkeypatch.setattr(events, "_observers", ())
    write_pool(tmp_path / "rows", [64 * 10, 64 * 10])
    (tmp_path / "mine.py").write_text(SLEEPER, "utf-8")
    busy = []
    events.observe(lambda each: busy.append(process_time()) if each.name == "committed" else None)
    list(label_pools(tiny_job(tmp_path, JOB), "teacher", engine="local"))
    # CPU-seconds beside the labeler's sleep: what others do on the machine is no cost of ours
    measured = 64 / 500 + statistics.median(np.diff(busy))
    case = Case(rows=64 * 20, fragment_rows=64, gpus=1, rows_a_second=500.0, cpus=1.0, calls=1)
    predicted = simulate(case, read_costs()).seconds / 20
    assert predicted * (1 - TOLERANCE) < measured
    assert measured < predicted * (1 + TOLERANCE * slowness())


def test_the_command_says_nothing_or_draws_nothing(tmp_path, capsys):
    picture, table = tmp_path / "out.svg", tmp_path / "out.md"
    command.main(["--quick", "--plot", str(picture), "--table", str(table)])
    said = capsys.readouterr().out
    assert "| labeler (rows/s a GPU) |" in said
    assert said.strip() == table.read_text("utf-8").strip()
    assert picture.read_text("utf-8").count("<svg") == 1
