"""The fields of KubeRay's ``ray.io/v1`` that crossfold's manifests may use, as a JSON schema.

Written by hand after the API reference of KubeRay 1.5, where a RayJob and a RayCluster have more:
what is not here is refused, so that a misspelt field, which Kubernetes would drop, is found. Pod
templates are checked by Kubernetes' own schema.
"""

from typing import Any


def _object(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": fields, "required": [*required],
        "additionalProperties": False,
    }  # fmt: skip


_TEXT, _YES_OR_NO = {"type": "string", "minLength": 1}, {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}  # numbers in quotes
_TEMPLATE = {"type": "object", "required": ["spec"]}
_GROUP = {"rayStartParams": _PARAMS, "template": _TEMPLATE}
_METADATA = _object(("name",), name=_TEXT, namespace=_TEXT, labels=_PARAMS, annotations=_PARAMS)
CLUSTER = _object(
    ("headGroupSpec",),
    rayVersion=_TEXT,
    authOptions=_object(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=_YES_OR_NO,
    headGroupSpec=_object(("template",), **_GROUP, enableIngress=_YES_OR_NO, serviceType=_TEXT),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            ("groupName", "template"), **_GROUP, groupName=_TEXT, replicas=_COUNT,
            minReplicas=_COUNT, maxReplicas=_COUNT, numOfHosts=_COUNT, idleTimeoutSeconds=_COUNT,
        ),
    },
)  # fmt: skip
JOB = _object(
    entrypoint=_TEXT,
    runtimeEnvYAML=_TEXT,
    rayClusterSpec=CLUSTER,
    clusterSelector=_PARAMS,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    submitterPodTemplate=_TEMPLATE,
    submitterConfig=_object(backoffLimit=_COUNT),
    backoffLimit=_COUNT,
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes=_YES_OR_NO,
    ttlSecondsAfterFinished=_COUNT,
    suspend=_YES_OR_NO,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
)


def resource(kind: str) -> dict[str, Any]:
    """The schema of a whole manifest."""
    head = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": kind}, "metadata": _METADATA}
    spec = {"RayCluster": CLUSTER, "RayJob": JOB}[kind]
    return _object(("apiVersion", "kind", "metadata", "spec"), **head, spec=spec)
