"""The manifests for Kubernetes: what stands in them is what Kubernetes, Serve and Greenroom take.

``GREENROOM_KUBERAY_CRD`` may name KubeRay's ``ray.io_rayservices.yaml``, which then judges the whole RayService.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from jsonschema import Draft7Validator
from ray.serve.schema import ServeDeploySchema

from deployments.app import build
from deployments.config import GreenroomConfig
from deployments.gateway import GATEWAY
from deployments.pool import pool_name

FOLDER = Path(__file__).parents[2] / "deployments" / "kubernetes"
KUBERNETES = "1.33"
RAYS_PORTS = (6379, 8265, 10001)


def objects(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


def service() -> dict[str, Any]:
    spec: dict[str, Any] = next(found for found in objects("greenroom.yaml") if found["kind"] == "RayService")["spec"]
    return spec


def pods() -> list[dict[str, Any]]:
    cluster = service()["rayClusterConfig"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["spec"]["containers"]]


def secret_keys(found: Any) -> set[str]:
    """Those of the secret ``greenroom`` that something refers to."""
    if isinstance(found, list):
        return set().union(*map(secret_keys, found))
    if not isinstance(found, dict):
        return set()
    if "secretKeyRef" in found:
        assert found["secretKeyRef"]["name"] == "greenroom"
        return {found["secretKeyRef"]["key"]}
    return secret_keys(list(found.values()))


def test_kubernetes_takes_its_own_kinds() -> None:
    own = [found for found in objects("greenroom.yaml") if found["kind"] != "RayService"]
    assert {found["kind"] for found in own} == {"PersistentVolumeClaim", "PodDisruptionBudget", "NetworkPolicy"}
    for found in own:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)
    for pod in pods():
        named = {**pod, "metadata": {**pod["metadata"], "name": "pod"}}
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **named}, KUBERNETES, strict=True)


def test_serve_and_greenroom_take_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_KEY", "a-key-of-the-secret")
    schema = ServeDeploySchema.model_validate(yaml.safe_load(service()["serveConfigV2"]))
    application = schema.applications[0]
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    config = GreenroomConfig.model_validate(application.args)
    assert config.listen is None  # Serve's proxies listen on every pod
    assert schema.http_options.host == "0.0.0.0"
    assert config.journal.url is not None
    names = {GATEWAY, *map(pool_name, config.models)}
    assert {deployment.name for deployment in application.deployments} <= names


def test_the_variables_of_the_configuration_are_those_of_every_pod() -> None:
    used = set(re.findall(r"key_env: (\w+)", service()["serveConfigV2"])) | {"PGPASSWORD"}
    for container in containers():
        assert {entry["name"] for entry in container["env"]} >= used


def test_the_page_makes_the_secret_that_the_manifest_wants() -> None:
    made = set(re.findall(r"--from-literal=([\w-]+)=", (FOLDER / "README.md").read_text()))
    assert secret_keys(objects("greenroom.yaml")) == made


def test_ray_and_the_image_are_of_this_release() -> None:
    assert service()["rayClusterConfig"]["rayVersion"] == ray.__version__
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert all(f":{ray.__version__}-py311" in base for base in re.findall(r"BASE=(\S+)", dockerfile))
    project = (FOLDER.parents[1] / "pyproject.toml").read_text()
    release = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert release
    assert {container["image"] for container in containers()} == {f"greenroom:{release[1]}"}


def test_the_extras_of_the_image_exist() -> None:
    project = (FOLDER.parents[1] / "pyproject.toml").read_text()
    for extras in re.findall(r"EXTRAS=(\S+)", (FOLDER / "Dockerfile").read_text()):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_nobody_but_the_clusters_own_pods_and_its_operator_reaches_rays_ports() -> None:
    policy = next(found for found in objects("greenroom.yaml") if found["kind"] == "NetworkPolicy")["spec"]
    labels = [pod["metadata"]["labels"] for pod in pods()]
    selected = policy["podSelector"]["matchLabels"]
    assert all(selected.items() <= pod.items() for pod in labels)
    assert policy["policyTypes"] == ["Ingress"]
    for rule in policy["ingress"]:
        for peer in rule["from"]:
            name = peer["podSelector"]["matchLabels"]
            if name != selected:
                allowed = {entry["port"] for entry in rule["ports"]} & {*RAYS_PORTS}
                assert allowed == ({8265} if name == {"app.kubernetes.io/name": "kuberay-operator"} else set())


def test_a_pod_has_the_time_that_draining_takes() -> None:
    for pod in pods():
        for container in pod["spec"]["containers"]:
            if hook := container.get("lifecycle"):
                _, seconds = hook["preStop"]["exec"]["command"]
                assert pod["spec"]["terminationGracePeriodSeconds"] > int(seconds)


def test_the_metrics_port_is_one_of_every_pod() -> None:
    (monitor,) = objects("monitoring.yaml")
    port = monitor["spec"]["podMetricsEndpoints"][0]["port"]
    for container in containers():
        assert port in [entry["name"] for entry in container["ports"]]


def test_the_shell_takes_the_script() -> None:
    subprocess.run(["sh", "-n", FOLDER / "drain.sh"], check=True)


@pytest.mark.skipif("GREENROOM_KUBERAY_CRD" not in os.environ, reason="GREENROOM_KUBERAY_CRD names no file")
def test_kuberay_takes_the_service() -> None:
    definition = yaml.safe_load(Path(os.environ["GREENROOM_KUBERAY_CRD"]).read_text())
    schemas = [found["schema"]["openAPIV3Schema"] for found in definition["spec"]["versions"] if found["name"] == "v1"]
    schema = closed(schemas[0])
    schema["properties"]["metadata"] = {"type": "object"}
    found = next(found for found in objects("greenroom.yaml") if found["kind"] == "RayService")
    assert [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(found)] == []


def closed(schema: Any) -> Any:
    """The same without unknown fields, which Kubernetes drops in silence."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and not is_open:
        parts["additionalProperties"] = False
    return parts
