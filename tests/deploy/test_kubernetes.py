"""The manifests for Kubernetes: KubeRay's resources by their fields, all else by its own schema."""

import copy
import shlex
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from distributed.planning.plan import Resources, make_plan
from folds import cli
from folds.config import Config
from tests.deploy.ray_crd import resource

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.34"
RAY = ["raycluster.yaml", "rayjob.yaml"]


def read(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def ray_resource(name):
    (found,) = read(name)
    return found


def cluster_of(manifest):
    spec = manifest["spec"]
    return spec if manifest["kind"] == "RayCluster" else spec["rayClusterSpec"]


def templates(manifest):
    """All pod templates of a resource of KubeRay."""
    cluster = cluster_of(manifest)
    found = [cluster["headGroupSpec"]["template"]]
    found += [group["template"] for group in cluster["workerGroupSpecs"]]
    extra = manifest["spec"].get("submitterPodTemplate")
    return [*found, extra] if extra is not None else found


def check(manifest):
    """As a server would that knows KubeRay's resources, and minds fields that it does not know."""
    jsonschema.validate(manifest, resource(manifest["kind"]))
    for template in templates(manifest):
        own = {"metadata": {"name": "pod"}, "template": template}
        whole = {"apiVersion": "v1", "kind": "PodTemplate", **own}
        kubernetes_validate.validate(whole, VERSION, strict=True)


@pytest.mark.parametrize("name", RAY)
def test_kuberay_and_kubernetes_take_them(name):
    check(ray_resource(name))


@pytest.mark.parametrize("name", RAY)
@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m["spec"].update(entrypiont="misspelt"),
        lambda m: cluster_of(m).pop("headGroupSpec"),
        lambda m: cluster_of(m)["authOptions"].update(mode="none"),
        lambda m: cluster_of(m)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda m: cluster_of(m)["workerGroupSpecs"][0].update(replicas="two"),
        lambda m: m.update(apiVersion="ray.io/v1alpha1"),
    ],
)
def test_the_check_of_kuberays_fields_is_alive(name, damage):
    manifest = copy.deepcopy(ray_resource(name))
    damage(manifest)
    with pytest.raises(jsonschema.ValidationError):
        check(manifest)


@pytest.mark.parametrize(
    "damage",
    [
        lambda pod: pod["containers"][0].update(volumeMount=[]),
        lambda pod: pod["securityContext"].update(runAsUser="me"),
        lambda pod: pod["containers"][0].pop("name"),
    ],
)
def test_the_check_of_pods_is_alive(damage):
    manifest = copy.deepcopy(ray_resource("rayjob.yaml"))
    damage(templates(manifest)[1]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        check(manifest)


def test_disks_and_the_policy_are_kubernetes_own():
    kinds = []
    for manifest in read("common.yaml"):
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        kinds.append(manifest["kind"])
    assert kinds == ["PersistentVolumeClaim", "PersistentVolumeClaim", "NetworkPolicy"]


def test_both_have_the_same_cluster():
    assert cluster_of(ray_resource("rayjob.yaml")) == cluster_of(ray_resource("raycluster.yaml"))


@pytest.mark.parametrize("name", RAY)
def test_no_pod_has_rights_that_it_does_not_need(name):
    for template in templates(ray_resource(name)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))


@pytest.mark.parametrize("name", RAY)
def test_secrets_are_in_secrets_and_ray_asks_for_its_token(name):
    manifest = ray_resource(name)
    assert cluster_of(manifest)["authOptions"] == {"mode": "token"}
    for template in templates(manifest):
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"] != "CROSSFOLD_FOLDER":
                    assert "secretKeyRef" in variable["valueFrom"], variable


def test_only_crossfolds_pods_and_the_operator_reach_ray():
    policy = read("common.yaml")[-1]["spec"]
    label = policy["podSelector"]["matchLabels"]
    for name in RAY:
        for template in templates(ray_resource(name)):
            assert template["metadata"]["labels"] == label
    pods, operator = policy["ingress"]
    assert pods["from"] == [{"podSelector": {"matchLabels": label}}]
    assert operator["ports"] == [{"port": 8265}]


def test_the_claims_that_are_mounted_are_there_and_the_head_alone_has_them():
    claims = {m["metadata"]["name"] for m in read("common.yaml")[:2]}
    head, *workers = templates(ray_resource("raycluster.yaml"))
    volumes = head["spec"]["volumes"]
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in volumes} == claims
    (container,) = head["spec"]["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in volumes}
    folder = next(v["value"] for v in container["env"] if v["name"] == "CROSSFOLD_FOLDER")
    assert folder.startswith("/work/")  # on the disk that outlives the pod
    for worker in workers:
        assert worker["spec"]["volumes"] == []


def test_versions_are_those_of_the_constraints():
    pins = (ROOT / "constraints.txt").read_text()
    version = cluster_of(ray_resource("rayjob.yaml"))["rayVersion"]
    assert f"\nray=={version}\n" in pins


def test_the_entrypoint_is_a_command_that_crossfold_takes():
    command, *flags = shlex.split(ray_resource("rayjob.yaml")["spec"]["entrypoint"])
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"COPY deploy/start.sh /usr/local/bin/{command}\n" in dockerfile
    config, _ = cli.config_parser(Config(), _Nothing, flags, prog="", description="")
    assert (config.cluster.device, config.data.data) == ("cuda", "/data/cells.npz")


class _Nothing:
    """No options but the settings."""

    def __init__(self):
        pass


def test_a_lane_a_gpu_is_planned_for_a_head_that_trains_nothing():
    cluster = cluster_of(ray_resource("raycluster.yaml"))
    (group,) = cluster["workerGroupSpecs"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    asked = group["template"]["spec"]["containers"][0]["resources"]
    cpus, gpus = int(asked["requests"]["cpu"]), int(asked["limits"]["nvidia.com/gpu"])
    count = group["replicas"]
    assert group["minReplicas"] == group["maxReplicas"] == count
    there = Resources(count * cpus, count * gpus, (0, *[cpus] * count))
    plan = make_plan(there, 5, device="cuda", workers="auto", lanes="auto", lanes_per_gpu="auto",
                     batch_size=64, batch_norm=True)  # fmt: skip
    assert (plan.lanes, plan.workers) == (count * gpus, 1)
