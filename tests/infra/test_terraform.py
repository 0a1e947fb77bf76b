"""Buckets, identities, networks and node pools: their arguments exist, and they allow no more than they say."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml

from tests.command import REPOSITORY
from tests.infra import files
from tests.infra.terraform_arguments import KNOWN, MAPS, META

TYPED = ("resource", "data")


def unknown(blocks):
    """What no resource of its kind takes: `TYPE.NAME: argument`."""
    found = []
    for path, body in blocks.items():
        kind, *names = path.split(".")
        if kind in TYPED:
            known = KNOWN.get(names[0], set()) | META
            found += [f"{path}: {name}" for name in _arguments(body) if name not in known]
            found += [path] * (names[0] not in KNOWN)
    return found


def _arguments(body):
    """Names of arguments and blocks, at any depth."""
    if isinstance(body, list):
        return {name for each in body for name in _arguments(each)}
    if not isinstance(body, dict):
        return set()
    names = set()
    for name, value in body.items():
        if name == "dynamic":
            for block in value:
                ((inner, made),) = block.items()
                names |= {inner} | _arguments(made["content"])
            continue
        names.add(name)
        if name not in MAPS:
            names |= _arguments(value)
    return names


@pytest.mark.parametrize("cloud", files.CLOUDS)
def test_an_argument_is_none_of_its_resource(cloud):
    assert unknown(files.terraform(cloud)) == []


@pytest.mark.parametrize("cloud", files.CLOUDS)
def test_a_broken_key_passes(cloud):
    blocks = files.terraform(cloud)
    for path, body in blocks.items():
        if path.startswith(TYPED):
            broken = {**blocks, path: {**body, "versionning": True}}
            assert unknown(broken) == [f"{path}: versionning"]
    assert unknown({"resource.aws_s3_buckets.roots": {}}) == ["resource.aws_s3_buckets.roots"]


def test_a_broken_key_inside_a_block_passes():
    blocks = files.terraform("aws")
    group = blocks["resource.aws_eks_node_group.group"]
    group["dynamic"][0]["taint"]["content"][0]["keys"] = group["dynamic"][0]["taint"]["content"][
        0
    ].pop("key")
    group["scaling_config"][0]["maximum"] = 3
    assert sorted(unknown(blocks)) == [
        "resource.aws_eks_node_group.group: keys",
        "resource.aws_eks_node_group.group: maximum",
    ]


@pytest.mark.parametrize("cloud", files.CLOUDS)
def test_terraform_would_write_the_files_otherwise_or_cannot_read_them(cloud, tmp_path):
    terraform = files.program("terraform")
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    command = [terraform, "fmt", "-check", "-diff"]
    ended = subprocess.run([*command, files.FOLDER / cloud], env=environment, capture_output=True)
    assert ended.returncode == 0, ended.stdout.decode()
    broken = (files.FOLDER / cloud / "bucket.tf").read_text("utf-8").replace("{", "{{", 1)
    (tmp_path / "bucket.tf").write_text(broken, "utf-8")
    assert (
        subprocess.run([*command, tmp_path], env=environment, capture_output=True).returncode != 0
    )


@pytest.mark.parametrize("cloud", files.CLOUDS)
def test_a_variable_says_nothing_of_itself_or_is_not_used(cloud):
    text = "".join(file.read_text("utf-8") for file in (files.FOLDER / cloud).glob("*.tf"))
    for path, body in files.terraform(cloud).items():
        if path.startswith(("variable.", "output.")):
            assert body["description"], path
        if path.startswith("variable.") and path != "variable.subnet_ids":
            assert f"var.{path.partition('.')[2]}" in text, path


def test_the_bucket_on_aws_is_open_or_plain_or_a_rule_deletes_what_a_job_is_about_to_commit():
    blocks = files.terraform("aws")
    shut = dict(blocks["resource.aws_s3_bucket_public_access_block.roots"])
    shut.pop("bucket")
    assert len(shut) == 4
    assert all(value is True for value in shut.values())
    assert blocks["resource.aws_s3_bucket.roots"]["force_destroy"] is False
    (versions,) = blocks["resource.aws_s3_bucket_versioning.roots"]["versioning_configuration"]
    assert versions["status"] == "Enabled"
    (rule,) = blocks["resource.aws_s3_bucket_server_side_encryption_configuration.roots"]["rule"]
    (encryption,) = rule["apply_server_side_encryption_by_default"]
    assert encryption["sse_algorithm"] == "aws:kms"
    for rule in blocks["resource.aws_s3_bucket_lifecycle_configuration.roots"]["rule"]:
        for expiration in rule.get("expiration", []):
            assert set(expiration) == {"expired_object_delete_marker"}
        assert "transition" not in rule, "an archived commit is not read in time"


def test_the_bucket_on_google_is_open_or_plain_or_a_rule_deletes_what_is_live():
    bucket = files.terraform("gcp")["resource.google_storage_bucket.roots"]
    assert bucket["public_access_prevention"] == "enforced"
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["encryption"][0]["default_kms_key_name"]
    assert bucket["versioning"][0]["enabled"] is True
    for rule in bucket["lifecycle_rule"]:
        (action,) = rule["action"]
        (condition,) = rule["condition"]
        if action["type"] == "Delete":
            assert condition["with_state"] == "ARCHIVED"
            assert "age" not in condition
        else:
            assert action["type"] == "AbortIncompleteMultipartUpload"


def test_a_commit_may_be_overwritten_by_a_plain_put():
    (denied,) = [
        statement
        for statement in files.terraform("aws")["data.aws_iam_policy_document.bucket"]["statement"]
        if statement["sid"] == "CommitsAreNeverOverwritten"
    ]
    assert denied["effect"] == "Deny"
    assert denied["actions"] == ["s3:PutObject"]
    assert denied["resources"] == ["${aws_s3_bucket.roots.arn}/*/commits/*.json"]
    (condition,) = denied["condition"]
    assert (condition["test"], condition["variable"]) == ("Null", "s3:if-none-match")


@pytest.mark.parametrize("role", ["worker", "head"])
def test_a_node_on_aws_may_do_anything_or_to_anything(role):
    for statement in files.terraform("aws")[f"data.aws_iam_policy_document.{role}"]["statement"]:
        assert statement.get("effect", "Allow") == "Allow"
        assert not any("*" in action for action in statement["actions"])
        if statement["resources"] == ["*"]:
            assert all(action.startswith("ec2:Describe") for action in statement["actions"])
        if any(action.startswith(("ec2:Terminate", "iam:")) for action in statement["actions"]):
            assert statement["condition"]


def test_a_node_on_google_may_do_anything():
    blocks = files.terraform("gcp")
    roles = {
        body["role"] for path, body in blocks.items() if "_iam_member." in path and "role" in body
    }
    assert not roles & {"roles/owner", "roles/editor", "roles/storage.admin", "roles/compute.admin"}
    launcher = blocks["resource.google_project_iam_custom_role.launcher"]["permissions"]
    assert not any("setIamPolicy" in each or "*" in each for each in launcher)


def test_rays_ports_are_open_to_more_than_its_nodes():
    blocks = files.terraform("aws")
    for path, body in blocks.items():
        if path.startswith("resource.aws_vpc_security_group_ingress_rule"):
            inside = "referenced_security_group_id" in body
            assert inside or (body["from_port"], body["to_port"]) == (22, 22)
    for path, body in files.terraform("gcp").items():
        if path.startswith("resource.google_compute_firewall"):
            (allowed,) = body["allow"]
            assert "source_service_accounts" in body or allowed["ports"] == ["22"]


def pods():
    """Name of a group → its pod, over all files for Kubernetes."""
    for name in ("kuberay-cluster.yaml", "kuberay-job.yaml", "kubernetes-parts.yaml"):
        document = yaml.safe_load((REPOSITORY / "cluster" / name).read_text("utf-8"))
        spec = document["spec"].get("rayClusterSpec", document["spec"])
        groups = (
            [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
            if "headGroupSpec" in spec
            else [spec]
        )
        yield from (group["template"]["spec"] for group in groups)


@pytest.mark.parametrize("cloud", files.CLOUDS)
def test_a_pod_selects_nodes_that_no_pool_makes_or_does_not_tolerate_them(cloud):
    blocks = files.terraform(cloud)
    pools = blocks["locals"]["groups" if cloud == "aws" else "pools"]
    text = json.dumps(blocks)
    assert "distill/spot" in text
    for pod in pods():
        pool = pools[pod["nodeSelector"]["distill/role"]]
        tolerated = {each["key"] for each in pod.get("tolerations", [])}
        is_spot = pool.get("market") == "SPOT" or bool(pool.get("spot"))
        has_gpu = bool(pool.get("gpu") or pool.get("gpus"))
        tainted = {"distill/spot": is_spot, "nvidia.com/gpu": has_gpu}
        assert tolerated == {key for key, is_there in tainted.items() if is_there}
