"""Objects for Kubernetes: by its own schemas, and the KubeRay fields by ours."""

from __future__ import annotations

import re
import warnings

import jsonschema
import pytest

from tests.cluster import files
from tests.cluster.kuberay import SCHEMAS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    kubernetes_validate = pytest.importorskip("kubernetes_validate")

VERSION = "1.33"
OBJECTS = [(name, each) for name in files.KUBERNETES for each in files.documents(name)]
RAY = ("kuberay-cluster.yaml", "kuberay-job.yaml")
IDS = [f"{name}:{each['kind']}" for name, each in OBJECTS]


def check(document):
    """By the schema of its kind, its pod templates by that of Kubernetes."""
    if document["kind"] not in SCHEMAS:
        kubernetes_validate.validate(document, VERSION, strict=True)
        return
    jsonschema.validate(document, SCHEMAS[document["kind"]])
    for template in templates(document):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {}, "template": template}
        kubernetes_validate.validate(pod, VERSION, strict=True)


def cluster_spec(document):
    return document["spec"].get("rayClusterSpec", document["spec"])


def templates(document):
    """The pod templates of a Ray cluster, head first, or of a Job."""
    spec = cluster_spec(document)
    if "headGroupSpec" not in spec:
        return [spec["template"]] if "template" in spec else []
    return [each["template"] for each in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


@pytest.mark.parametrize(("name", "document"), OBJECTS, ids=IDS)
def test_an_object_is_not_what_its_reader_takes(name, document):
    check(document)
    assert document["metadata"].get("namespace", document["metadata"].get("name")) == "distill"


BROKEN_RAY = [
    lambda document: cluster_spec(document).update(enableAutoscaling=True),
    lambda document: cluster_spec(document)["autoscalerOptions"].update(version="v3"),
    lambda document: cluster_spec(document)["authOptions"].update(mode="secret"),
    lambda document: cluster_spec(document)["workerGroupSpecs"][0].update(max=3),
    lambda document: cluster_spec(document)["headGroupSpec"]["rayStartParams"].update(port=1),
    lambda document: templates(document)[1]["spec"].update(nodeselector={}),
    lambda document: templates(document)[2]["spec"]["containers"][0].update(images="a"),
    lambda document: templates(document)[0]["spec"]["containers"][0].pop("name"),
]


@pytest.mark.parametrize("name", RAY)
@pytest.mark.parametrize("broken", BROKEN_RAY)
def test_a_broken_key_passes(name, broken):
    document = files.document(name)
    broken(document)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(document)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_broken_key_of_a_plain_object_passes(number):
    document = files.documents("kubernetes.yaml")[number]
    document["metadatas"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(document)


def test_a_broken_key_of_the_indexed_job_passes():
    document = files.document("kubernetes-parts.yaml")
    document["spec"]["complete"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        check(document)


@pytest.mark.parametrize("name", RAY)
def test_the_cluster_has_no_token_or_no_autoscaler_of_the_second_kind_or_no_queue(name):
    document = files.document(name)
    spec = cluster_spec(document)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"]
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert document["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    head = spec["headGroupSpec"]
    assert head["labels"] == {"ray.io/market-type": "on-demand"}
    for group in spec["workerGroupSpecs"]:
        tolerated = {each["key"] for each in group["template"]["spec"].get("tolerations", [])}
        is_spot = group["labels"]["ray.io/market-type"] == "spot"
        assert is_spot == ("distill/spot" in tolerated)
        assert group["minReplicas"] == 0 < group["maxReplicas"]
    assert spec["rayVersion"] == _pinned("ray")


def test_a_finished_job_leaves_its_cluster_running():
    spec = files.document("kuberay-job.yaml")["spec"]
    assert spec["shutdownAfterJobFinishes"]
    assert spec["backoffLimit"] > 0
    assert "gcsFaultToleranceOptions" not in spec["rayClusterSpec"], "a job's cluster is made anew"
    stays = files.document("kuberay-cluster.yaml")["spec"]["gcsFaultToleranceOptions"]
    assert stays["backend"] == "rocksdb"


@pytest.mark.parametrize(("name", "document"), OBJECTS, ids=IDS)
def test_a_pod_is_root_or_takes_a_gpu_that_its_selector_does_not_bring(name, document):
    if document["kind"] not in (*SCHEMAS, "Job"):
        return
    for template in templates(document):
        pod = template["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        resources = container["resources"]
        assert resources["limits"] == resources["requests"], "what Ray counts is what is there"
        takes_gpu = "nvidia.com/gpu" in resources["limits"]
        tolerated = {each["key"] for each in pod.get("tolerations", [])}
        assert takes_gpu == ("nvidia.com/gpu" in tolerated)
        assert takes_gpu == (pod["nodeSelector"]["distill/role"] in ("labeler", "trainer"))


def test_the_parts_of_the_indexed_job_are_not_those_that_it_completes():
    spec = files.document("kubernetes-parts.yaml")["spec"]
    command = spec["template"]["spec"]["containers"][0]["command"]
    part = command[command.index("--part") + 1]
    assert part == f"auto/{spec['completions']}"


def _pinned(package):
    pins = (files.FOLDER.parent / "constraints.txt").read_text("utf-8")
    return re.search(rf"^{package}==(\S+)", pins, re.MULTILINE)[1]
