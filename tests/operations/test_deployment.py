"""Deployment files, checked as far as that goes without an engine: against schemas, and against each other."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "kubernetes").rglob("*.yaml"))
BIN = Path(sys.executable).parent


def documents(path: Path) -> list[dict[str, Any]]:
    return [of for of in yaml.safe_load_all(path.read_text()) if of]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_manifests_follow_the_schemas_of_kubernetes(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate (108 MB of schemas)")
    for document in documents(path):
        if document["kind"] != "Kustomization":
            validate.validate(document, "1.34", strict=True)


def test_kustomizations_name_files_that_are_there_and_leave_none_out() -> None:
    base = ROOT / "kubernetes" / "base"
    (kustomization,) = documents(base / "kustomization.yaml")
    there = {path.name for path in base.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert set(kustomization["resources"]) == there
    (cpu,) = documents(ROOT / "kubernetes" / "cpu" / "kustomization.yaml")
    worker = named("Deployment", "worker")["spec"]["template"]["spec"]
    for patch in yaml.safe_load(cpu["patches"][0]["patch"]):
        place: Any = {"spec": {"template": {"spec": worker}}}
        for step in patch["path"].strip("/").split("/"):
            place = place[int(step)] if isinstance(place, list) else place[step.replace("~1", "/")]


def test_volumes_secrets_and_services_of_the_manifests_fit_together() -> None:
    everything = [of for path in MANIFESTS for of in documents(path)]
    kinds = {(of["kind"], of["metadata"]["name"]) for of in everything if of["kind"] != "Kustomization"}
    (kustomization,) = documents(ROOT / "kubernetes" / "base" / "kustomization.yaml")
    kinds |= {("ConfigMap", of["name"]) for of in kustomization["configMapGenerator"]}
    for of in everything:
        if of["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = of["spec"]["template"]
        assert of["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        claims = {claim["metadata"]["name"] for claim in of["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])} | claims
        for volume in pod["spec"].get("volumes", []):
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in kinds
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in kinds
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            for source in container.get("envFrom", []):
                kind = "ConfigMap" if "configMapRef" in source else "Secret"
                assert (kind, next(iter(source.values()))["name"]) in kinds
            if container["image"] == "slm":
                assert not any("password" in str(value).lower() for value in container.get("env", []))
    labels = [of["spec"]["template"]["metadata"]["labels"] for of in everything if "template" in of.get("spec", {})]
    for of in everything:
        if of["kind"] == "Service":
            assert any(of["spec"]["selector"].items() <= label.items() for label in labels), of["metadata"]["name"]


def named(kind: str, name: str) -> dict[str, Any]:
    found = (of for path in MANIFESTS for of in documents(path))
    return next(of for of in found if of["kind"] == kind and of["metadata"]["name"] == name)


def test_compose_follows_its_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="pip install compose-spec")
    text = (ROOT / "docker" / "compose.yaml").read_text()
    merged = yaml.safe_load(text)  # anchors and merge keys applied, as an engine does
    plain = re.sub(r"(?<!\$)\$\{\w+:?[-?]?([^}]*)\}", lambda m: m.group(1) or "x", yaml.safe_dump(merged))
    compose_spec.ComposeSpecification.model_validate(yaml.safe_load(plain))
    monkeypatch.undo()


def test_what_the_instance_asks_of_the_environment_is_set_everywhere() -> None:
    asked = set(re.findall(r"env: (\w+)", (ROOT / "docker" / "dagster.yaml").read_text()))
    assert asked
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    for service in ("worker", "webserver", "daemon"):
        assert asked <= compose["services"][service]["environment"].keys(), service
    (kustomization,) = documents(ROOT / "kubernetes" / "base" / "kustomization.yaml")
    literals = {line.split("=")[0] for line in kustomization["configMapGenerator"][0]["literals"]}
    (secret,) = documents(ROOT / "kubernetes" / "base" / "secret.example.yaml")
    assert asked <= literals | secret["stringData"].keys()


def test_the_three_pages_are_served_and_linked_as_make_ui_does() -> None:
    """Dagster, MLflow and the reports; the links on Dagster's pages lead to the ports that a browser reaches."""
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    (kustomization,) = documents(ROOT / "kubernetes" / "base" / "kustomization.yaml")
    literals = dict(line.split("=", 1) for line in kustomization["configMapGenerator"][0]["literals"])
    for service, variable, port in (("mlflow", "SLM_MLFLOW_UI", 5000), ("reports", "SLM_REPORT_UI", 3001)):
        (published,) = compose["services"][service]["ports"]
        there = published.rpartition(":")
        assert (there[0].removeprefix("127.0.0.1:"), there[2]) == (
            compose["services"]["worker"]["environment"][variable].removeprefix("http://127.0.0.1:"), str(port)
        )  # fmt: skip
        assert literals[variable] == f"http://127.0.0.1:{port}"
        assert {"port": port} in named("Service", service)["spec"]["ports"]
    container = named("Deployment", "reports")["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == compose["services"]["reports"]["command"]


def test_the_image_copies_files_that_are_there() -> None:
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    ignored = {line for line in (ROOT / ".dockerignore").read_text().split() if line}
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] not in ignored, name
