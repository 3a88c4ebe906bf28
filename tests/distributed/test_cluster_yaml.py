"""The cluster files, as Ray itself reads them. Needs neither AWS nor boto3."""

import copy
import importlib
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
FILES = ["cluster.yaml", "cluster.local.yaml"]
COMMANDS = [
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
]
GPU_FAMILIES = ("p2", "p3", "p4", "p5", "p6", "g3", "g4", "g5", "g6", "g7", "gr6", "trn", "inf")
PACKAGES = re.compile(
    r"\b(pip|conda|mamba|poetry|pipx)\b.*\b(install|sync)\b|\buv (add|sync|run)\b"
)


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def prepared(name: str) -> dict[str, Any]:
    """With Ray's defaults, as `ray up` has it before it talks to AWS."""
    return prepare_config(read(name))


def commands(config: dict[str, Any]) -> list[str]:
    return [command for key in COMMANDS for command in config.get(key, [])]


def unconstrained(config: dict[str, Any]) -> list[str]:
    """Commands that install packages without the constraints."""
    found = []
    for command in commands(config):
        installs = len(PACKAGES.findall(command))
        if installs and (installs > 1 or not re.search(r" -c constraints\.txt\b", command)):
            found.append(command)
    return found


def gpu_machine(instance: str) -> bool:
    return instance.split(".")[0].startswith(GPU_FAMILIES)


@pytest.fixture
def aws(monkeypatch):
    """Ray's AWS code, on stand-ins where boto3 is missing; the rules it writes need no boto3."""
    try:
        import boto3  # noqa: F401
    except ImportError:
        names = {
            "boto3": {"__version__": "1.40.0"},
            "boto3.exceptions": {"ResourceNotExistsError": Exception},
            "boto3.resources": {},
            "boto3.resources.base": {"ServiceResource": object},
            "botocore": {},
            "botocore.client": {"BaseClient": object},
            "botocore.config": {"Config": object},
        }
        for name, content in names.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)
        package = "ray.autoscaler._private.aws"
        for name in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
            monkeypatch.delitem(sys.modules, name)
        module = importlib.import_module(package + ".config")
        yield module
        for name in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
            del sys.modules[name]
    else:
        yield importlib.import_module("ray.autoscaler._private.aws.config")


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file(name):
    validate_config(prepared(name))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("cluster_name"),
        lambda c: c.pop("provider"),
        lambda c: c["provider"].pop("type"),
        lambda c: c.update(max_worker=3),
        lambda c: c.update(setup_commands="not a list"),
        lambda c: c["available_node_types"][c["head_node_type"]].pop("resources"),
        lambda c: c.update(idle_timeout_minutes=-1),
    ],
    ids=["name", "provider", "type", "unknown", "commands", "resources", "negative"],
)
def test_rays_check_is_alive(name, damage):
    config = prepared(name)
    damage(config)
    with pytest.raises(jsonschema.ValidationError):
        validate_config(config)


def test_rays_check_knows_the_head():
    config = prepared("cluster.yaml")
    config["head_node_type"] = "nobody"
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config(config)


def test_only_ssh_is_open_to_the_world(aws):
    config = read("cluster.yaml")
    group = config["provider"]["security_group"]
    rules = aws._create_default_inbound_rules({"sg-of-the-cluster"}, group["IpPermissions"])
    outside = [rule for rule in rules if rule.keys() & {"IpRanges", "Ipv6Ranges", "PrefixListIds"}]
    assert [(r["IpProtocol"], r["FromPort"], r["ToPort"]) for r in outside] == [("tcp", 22, 22)]
    within = [rule for rule in rules if rule not in outside]
    assert within == [
        {
            "FromPort": -1,
            "ToPort": -1,
            "IpProtocol": "-1",
            "UserIdGroupPairs": [{"GroupId": "sg-of-the-cluster"}],
        }
    ]
    assert group["GroupName"] not in ("default", "")
    for kind in config["available_node_types"].values():  # would bypass the group above
        assert not kind["node_config"].keys() & {"SecurityGroupIds", "NetworkInterfaces"}


@pytest.mark.parametrize("name", FILES)
def test_packages_are_installed_with_the_constraints(name):
    config = prepared(name)
    assert not unconstrained(config)
    assert any(" -e . " in f"{command} " for command in config["head_setup_commands"])
    assert any(" -e . " in f"{command} " for command in config["worker_setup_commands"])
    broken = copy.deepcopy(config)
    broken["worker_setup_commands"].append("uv pip install torch")
    assert unconstrained(broken) == ["uv pip install torch"]


def test_the_constraints_fix_ray_and_suit_gpu_workers():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(
        line.split(" ")[0].split("==") for line in lines if re.match(r"[\w.\[\]-]+==", line)
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins["ray"])
    assert not [f"{name}=={pin}" for name, pin in pins.items() if pin.endswith("+cpu")]


@pytest.mark.parametrize("name", FILES)
def test_mlflow_and_the_dashboard_listen_on_the_loopback(name):
    config = prepared(name)
    servers = [command for command in commands(config) if "mlflow server" in command]
    assert len(servers) == 1
    assert servers[0] in config["head_start_ray_commands"]
    assert re.findall(r"--host[ =](\S+)", servers[0]) == ["127.0.0.1"]
    assert "sqlite:///" in servers[0]
    assert "--artifacts-destination" in servers[0]
    heads = [command for command in commands(config) if "--head" in command]
    assert len(heads) == 1
    assert re.findall(r"--dashboard-host[ =](\S+)", heads[0]) == ["127.0.0.1"]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in heads[0]
    assert "0.0.0.0" not in " ".join(commands(config))


@pytest.mark.parametrize("name", FILES)
def test_ray_starts_from_the_environment_that_was_set_up(name):
    config = prepared(name)
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    rays = [
        word for command in starts for word in re.findall(r"(\S*)\bray (?:start|stop)", command)
    ]
    assert rays == ["~/crossfold-env/bin/"] * 4
    assert any(
        re.search(r"uv venv --python 3\.1[1-9] ~/crossfold-env$", c) for c in commands(config)
    )


@pytest.mark.parametrize("name", FILES)
def test_commands_are_valid_shell(name):
    for command in commands(prepared(name)):
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert checked.returncode == 0, f"{command}: {checked.stderr}"


def test_the_head_is_small_and_workers_come_and_go():
    config = prepared("cluster.yaml")
    types_ = config["available_node_types"]
    head = types_[config["head_node_type"]]
    assert not gpu_machine(head["node_config"]["InstanceType"])
    assert not head["resources"].get("GPU")
    assert head["max_workers"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]  # MLflow must not vanish
    workers = [kind for name, kind in types_.items() if name != config["head_node_type"]]
    assert workers
    for worker in workers:
        assert gpu_machine(worker["node_config"]["InstanceType"])
        assert worker["resources"]["GPU"] > 1
        assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
        assert worker["min_workers"] == 0
        assert 1 <= worker["max_workers"] <= config["max_workers"]
    assert config["idle_timeout_minutes"] > 0


def test_all_nodes_have_one_image_and_not_rays_own():
    kinds = prepared("cluster.yaml")["available_node_types"].values()
    images = {kind["node_config"].get("ImageId", "") for kind in kinds}
    assert len(images) == 1
    assert images.pop().startswith("ami-")


def test_machines_of_ones_own_all_join():
    config = prepared("cluster.local.yaml")
    (kind,) = config["available_node_types"].values()
    machines = len(config["provider"]["worker_ips"])
    assert machines
    assert kind["min_workers"] == kind["max_workers"] == config["max_workers"] == machines
    assert config["provider"]["head_ip"] not in config["provider"]["worker_ips"]


@pytest.mark.parametrize("name", FILES)
def test_the_checkout_is_sent_without_data_and_history(name):
    config = prepared(name)
    assert config["file_mounts"] == {"~/crossfold": "."}
    assert ".gitignore" in config["rsync_filter"]
    assert {"**/.git", "/data"} <= set(config["rsync_exclude"])


def test_the_files_differ_only_in_their_machines():
    cloud, own = (read(name) for name in FILES)
    for key in ("setup_commands", "worker_start_ray_commands"):
        assert cloud[key] == own[key]
    *first, start, last = own["head_start_ray_commands"]
    first_autoscaler = "RAY_enable_autoscaler_v2=0 "  # the second starts no machines of one's own
    assert first_autoscaler in start
    same = [*first, start.replace(first_autoscaler, ""), last]
    assert cloud["head_start_ray_commands"] == same


def test_a_run_finds_mlflow_when_the_head_has_started():
    for config in map(read, FILES):
        assert "http://127.0.0.1:5000/health" in config["head_start_ray_commands"][-1]


def test_machines_of_ones_own_need_no_cloud():
    cloud, own = (read(name) for name in FILES)
    assert set(own["head_setup_commands"]) < set(cloud["head_setup_commands"])
