"""Panels, alerts and where Prometheus looks: all of figures that a run has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from distill.engine.ray import metrics
from tests.infra import files

PROMETHEUS = files.FOLDER / "prometheus"
OF_RAY = {"ray_node_gpus_utilization"}
"""Of Ray's own dashboard agent."""


GAUGES = {"ray_distill_work_total"}
"""That end as counters do."""


def emitted():
    """Metric → as Prometheus knows it, from the table of `distill.engine.ray.metrics`."""
    names = set()
    for line in metrics.__doc__.splitlines():
        if line.startswith("| `distill_"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            suffix = "_total" if cells[1] == "counter" else ""
            names |= {f"ray_{name}{suffix}" for name in re.findall(r"`(\w+)`", cells[0])}
    return names


def used(expression):
    return set(re.findall(r"\bray_\w+", expression)) - {"ray_group"}


def rules():
    tree = yaml.safe_load((PROMETHEUS / "rules.yml").read_text("utf-8"))
    return [rule for group in tree["groups"] for rule in group["rules"]]


def panels():
    return json.loads((files.FOLDER / "grafana" / "distill.json").read_text("utf-8"))["panels"]


def test_the_table_of_metrics_is_not_what_the_code_emits():
    source = Path(metrics.__file__).read_text("utf-8")
    code = source.split('"""', 2)[2]
    assert {f"ray_{name}" for name in re.findall(r'"(distill_\w+)"', code)} == {
        name.removesuffix("_total") if name not in GAUGES else name for name in emitted()
    }


def test_an_alert_is_about_a_figure_that_no_run_has():
    assert len(rules()) == 7
    for rule in rules():
        assert used(rule["expr"]) <= emitted(), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}
    assert {"DistillNoCommit", "DistillRejectsOverBudget", "DistillSpotLosses"} <= {
        rule["alert"] for rule in rules()
    }


def test_a_panel_is_of_a_figure_that_no_run_has_or_hides_another():
    places = set()
    for panel in panels():
        for target in panel["targets"]:
            assert used(target["expr"]) <= emitted() | OF_RAY, panel["title"]
        assert panel["description"]
        place = panel["gridPos"]
        places.add((place["x"], place["y"]))
        assert place["x"] + place["w"] <= 24
    assert len(panels()) == len(places) == 11
    assert len({panel["id"] for panel in panels()}) == 11
    shown = set().union(
        *(used(target["expr"]) for panel in panels() for target in panel["targets"])
    )
    assert emitted() <= shown, "a figure that nobody sees"


def promtool(*arguments):
    program = files.program("promtool")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_promtool_refuses_the_rules():
    ended = promtool("check", "rules", PROMETHEUS / "rules.yml")
    assert ended.returncode == 0, ended.stderr


def test_an_alert_does_not_fire_when_it_should_or_fires_when_it_should_not():
    ended = promtool("test", "rules", PROMETHEUS / "rules_test.yml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_promtool_refuses_the_configuration():
    ended = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("file", "check", "old", "new"),
    [
        ("rules.yml", "rules", "expr: sum", "expression: sum"),
        ("rules.yml", "rules", "max by (job_name, step)", "max by (job_name, step"),
        ("prometheus.yml", "config", "file_sd_configs", "files_sd_configs"),
    ],
)
def test_a_broken_key_passes(tmp_path, file, check, old, new):
    for each in PROMETHEUS.glob("*.yml"):
        shutil.copy(each, tmp_path)
    text = (tmp_path / file).read_text("utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), "utf-8")
    assert promtool("check", check, tmp_path / file).returncode != 0


def test_an_alert_that_comes_too_late_passes_its_test(tmp_path):
    for each in PROMETHEUS.glob("*.yml"):
        shutil.copy(each, tmp_path)
    text = (tmp_path / "rules.yml").read_text("utf-8")
    (tmp_path / "rules.yml").write_text(text.replace("> 900)", "> 9000)"), "utf-8")
    assert promtool("test", "rules", tmp_path / "rules_test.yml").returncode != 0


def test_prometheus_looks_for_another_port_than_pods_have():
    monitor = yaml.safe_load((PROMETHEUS / "podmonitor.yaml").read_text("utf-8"))
    assert set(monitor["spec"]) == {"namespaceSelector", "selector", "podMetricsEndpoints"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for name in ("kuberay-cluster.yaml", "kuberay-job.yaml"):
        text = (files.FOLDER.parent / "cluster" / name).read_text("utf-8")
        ports = re.findall(r"\{name: (\w+), containerPort: 8080\}", text)
        assert set(ports) == {endpoint["port"]}
        assert text.count('metrics-export-port: "8080"') == len(ports)
