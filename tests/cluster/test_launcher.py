"""Files of Ray's cluster launcher, by Ray's own checks."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.cluster import files

CLOUDS = ("aws.yaml", "gcp.yaml")


def check(config):
    """By the schema that comes with Ray."""
    import ray.autoscaler

    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    jsonschema.validate(config, json.loads(schema.read_text("utf-8")))


@pytest.mark.parametrize("name", files.LAUNCHER)
def test_a_launcher_file_is_not_what_ray_reads(name):
    check(files.document(name))


@pytest.mark.parametrize("name", files.LAUNCHER)
@pytest.mark.parametrize(
    "broken",
    [
        lambda config: config.update(maximum_workers=3),
        lambda config: config["auth"].update(user="ubuntu"),
        lambda config: config["available_node_types"][config["head_node_type"]].pop("resources"),
        lambda config: config["available_node_types"][config["head_node_type"]].update(max=3),
        lambda config: config.update(max_workers="many"),
    ],
)
def test_a_broken_key_passes(name, broken):
    config = files.document(name)
    broken(config)
    with pytest.raises(jsonschema.ValidationError):
        check(config)


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_up_completes_and_accepts_the_file(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(files.document(name))
    validate_config(prepared)
    types = prepared["available_node_types"]
    assert sum(each["max_workers"] for each in types.values()) >= prepared["max_workers"]


@pytest.mark.parametrize("name", CLOUDS)
def test_the_head_works_or_may_be_taken_away_or_labelers_cost_what_on_demand_does(name):
    types = files.document(name)["available_node_types"]
    market = {kind: node["labels"]["ray.io/market-type"] for kind, node in types.items()}
    spot = {"labeler_spot"}
    assert {kind for kind, is_ in market.items() if is_ == "spot"} == spot
    assert types["head"]["resources"] == {"CPU": 0}
    for kind, node in types.items():
        config = node["node_config"]
        bought = config.get("InstanceMarketOptions", config.get("scheduling", {}))
        says_spot = "spot" in json.dumps(bought).lower()
        assert says_spot == (kind in spot), kind
        assert node["min_workers"] == 0 <= node["max_workers"]


@pytest.mark.parametrize("name", CLOUDS)
def test_a_port_is_open_to_the_world_or_a_token_is_not_needed(name):
    config = files.document(name)
    assert config["provider"]["use_internal_ips"]
    for start in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        (command,) = [each for each in start if "ray start" in each]
        assert command.startswith("RAY_AUTH_MODE=token ")
        assert "0.0.0.0" not in command
    for node in config["available_node_types"].values():
        node_config = node["node_config"]
        if name == "aws.yaml":
            assert node_config["SecurityGroupIds"]
            assert node_config["MetadataOptions"]["HttpTokens"] == "required"
        else:
            (network,) = node_config["networkInterfaces"]
            assert "accessConfigs" not in network, "what gives a public address"
