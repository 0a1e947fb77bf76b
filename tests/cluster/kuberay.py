"""The fields of KubeRay's `RayCluster` and `RayJob` that our files use, as JSON Schemas: no package ships
its CRDs. Held against ray-operator/config/crd/bases of KubeRay 1.7.0. What stands inside a pod template is
for `kubernetes_validate`."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


_TEXT: Schema = {"type": "string", "minLength": 1}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_ANY: Schema = {"type": "object"}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


_AUTOSCALER = _object(
    version=_one_of("v1", "v2"),
    upscalingMode=_one_of("Default", "Aggressive", "Conservative"),
    idleTimeoutSeconds=_NUMBER,
    image=_TEXT,
    imagePullPolicy=_TEXT,
    resources=_ANY,
    securityContext=_ANY,
    env={"type": "array"},
)
_STORAGE = _object(
    claimName=_TEXT,
    size=_TEXT,
    storageClassName=_TEXT,
    accessModes={"type": "array", "items": _TEXT},
    subPath=_TEXT,
    deletionPolicy=_one_of("DeleteWithCluster", "Retain"),
)
_GCS = _object(
    backend=_one_of("redis", "rocksdb"),
    redisAddress=_TEXT,
    redisUsername=_ANY,
    redisPassword=_ANY,
    externalStorageNamespace=_TEXT,
    storage=_STORAGE,
)
_HEAD = _object(
    ("template",),
    template=_ANY,
    headService=_ANY,
    enableIngress=_FLAG,
    resources=_TEXTS,
    labels=_TEXTS,
    rayStartParams=_TEXTS,
    serviceType=_one_of("ClusterIP", "NodePort", "LoadBalancer"),
)
_WORKERS = _object(
    ("groupName", "template", "minReplicas", "maxReplicas"),
    groupName=_TEXT,
    replicas=_NUMBER,
    minReplicas=_NUMBER,
    maxReplicas=_NUMBER,
    idleTimeoutSeconds=_NUMBER,
    suspend=_FLAG,
    resources=_TEXTS,
    labels=_TEXTS,
    rayStartParams=_TEXTS,
    template=_ANY,
    numOfHosts=_NUMBER,
)
_CLUSTER_SPEC = _object(
    ("headGroupSpec",),
    rayVersion=_TEXT,
    suspend=_FLAG,
    enableInTreeAutoscaling=_FLAG,
    autoscalerOptions=_AUTOSCALER,
    authOptions=_object(
        mode=_one_of("disabled", "token"), secretName=_TEXT, enableK8sTokenAuth=_FLAG
    ),
    gcsFaultToleranceOptions=_GCS,
    headServiceAnnotations=_TEXTS,
    headGroupSpec=_HEAD,
    workerGroupSpecs={"type": "array", "items": _WORKERS},
)
_JOB_SPEC = _object(
    ("entrypoint", "rayClusterSpec"),
    entrypoint=_TEXT,
    runtimeEnvYAML=_TEXT,
    jobId=_TEXT,
    submissionMode=_one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    submitterPodTemplate=_ANY,
    entrypointNumCpus={"type": "number", "minimum": 0},
    entrypointNumGpus={"type": "number", "minimum": 0},
    entrypointResources=_TEXT,
    shutdownAfterJobFinishes=_FLAG,
    ttlSecondsAfterFinished=_NUMBER,
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    preRunningDeadlineSeconds={"type": "integer", "minimum": 1},
    backoffLimit=_NUMBER,
    suspend=_FLAG,
    metadata=_TEXTS,
    rayClusterSpec=_CLUSTER_SPEC,
)
_METADATA = _object(
    name=_TEXT, generateName=_TEXT, namespace=_TEXT, labels=_TEXTS, annotations=_TEXTS
)


def _kind(name: str, spec: Schema) -> Schema:
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion=_one_of("ray.io/v1"),
        kind=_one_of(name),
        metadata=_METADATA,
        spec=spec,
    )


SCHEMAS = {
    "RayCluster": _kind("RayCluster", _CLUSTER_SPEC),
    "RayJob": _kind("RayJob", _JOB_SPEC),
}
