"""Spot nodes hand their notice on, by a command that there is."""

from __future__ import annotations

import pytest
import yaml

from distill.engine.ray.spot_notice import _options
from tests.command import REPOSITORY

MODULE = "distill.engine.ray.spot_notice"


def documents(name):
    return yaml.safe_load_all((REPOSITORY / "cluster" / name).read_text("utf-8"))


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_notice_of_a_cloud_is_asked_of_another_or_not_at_all(cloud):
    (config,) = documents(f"{cloud}.yaml")
    (watch,) = [line for line in config["worker_start_ray_commands"] if MODULE in line]
    words = watch.partition(MODULE)[2].partition(">")[0].split()
    assert _options(words).cloud == cloud
    # Ray's launcher waits for each command
    assert watch.endswith("&")
    assert "nohup" in watch
    assert "RAY_AUTH_MODE=token" in watch


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_a_spot_pod_goes_with_what_is_in_work(name):
    seen = 0
    for document in documents(name):
        spec = document["spec"]
        for group in spec.get("rayClusterSpec", spec).get("workerGroupSpecs", []):
            if group["labels"]["ray.io/market-type"] != "spot":
                continue
            seen += 1
            pod = group["template"]["spec"]
            command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            options = _options(command[command.index(MODULE) + 1 :])
            assert options.now
            # Kubernetes ends the pod then, whatever the hook does
            assert options.seconds < pod["terminationGracePeriodSeconds"]
    assert seen == 1
