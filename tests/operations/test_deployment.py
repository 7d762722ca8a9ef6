"""Deployment files, checked as far as that goes without an engine: against schemas, and against each other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "kubernetes" / "runs"
INSTANCE = RUNS / "instance.yaml"  # Dagster's settings, no manifest
MANIFESTS = sorted(path for path in (ROOT / "kubernetes").rglob("*.yaml") if path != INSTANCE)
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


def test_all_that_write_to_the_volume_have_the_group_of_the_images_user() -> None:
    """A new volume is root's: without it, nothing but root writes there."""
    (user,) = re.findall(r"useradd .*--uid (\d+)", (ROOT / "docker" / "Dockerfile").read_text())
    pods = {of["metadata"]["name"]: of["spec"]["template"]["spec"] for of in everything("Deployment")}
    (train,) = yaml.safe_load((ROOT / "launch/train.jobset.yaml").read_text())["spec"]["replicatedJobs"]
    cluster = yaml.safe_load((ROOT / "launch/curate.rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    pods["train"] = train["template"]["spec"]["template"]["spec"]
    pods["head"] = cluster["headGroupSpec"]["template"]["spec"]
    pods["workers"] = cluster["workerGroupSpecs"][0]["template"]["spec"]
    writing = {
        name
        for name, pod in pods.items()
        for container in pod["containers"]
        for mount in container.get("volumeMounts", [])
        if mount["name"] == "data" and not mount.get("readOnly")
    }
    assert writing == {"worker", "mlflow", "train", "head", "workers"}
    for name in writing:
        assert pods[name]["securityContext"] == {"fsGroup": int(user)}, name
    assert launcher()["run_k8s_config"]["pod_spec_config"]["security_context"] == {"fs_group": int(user)}


def everything(kind: str) -> list[dict[str, Any]]:
    return [of for path in MANIFESTS for of in documents(path) if of["kind"] == kind]


def launcher() -> dict[str, Any]:
    """The settings of the launcher that makes each run a job."""
    (instance,) = documents(INSTANCE)
    assert instance["run_launcher"]["module"] == "dagster_k8s"
    found: dict[str, Any] = instance["run_launcher"]["config"]
    return found


def test_the_launcher_of_runs_as_jobs_names_what_is_there() -> None:
    given = launcher()
    (overlay,), (base,) = documents(RUNS / "kustomization.yaml"), documents(ROOT / "kubernetes/base/kustomization.yaml")
    (made,) = overlay["configMapGenerator"]
    assert made["name"] == given["instance_config_map"] and made["options"] == {"disableNameSuffixHash": True}
    assert made["files"] == [f"dagster.yaml={INSTANCE.name}"]
    (account,), (binding,) = everything("ServiceAccount"), everything("RoleBinding")
    assert given["service_account_name"] == account["metadata"]["name"] == binding["subjects"][0]["name"]
    assert f"serviceAccountName: {account['metadata']['name']}" in str(overlay["patches"])
    assert given["job_namespace"] == overlay["namespace"] == base["namespace"]
    assert given["dagster_home"] in (ROOT / "docker" / "Dockerfile").read_text()
    literals = {line.split("=")[0] for line in base["configMapGenerator"][0]["literals"]}
    (secret,) = documents(ROOT / "kubernetes" / "base" / "secret.example.yaml")
    assert set(given["env_vars"]) <= literals, "whoever starts a run hands these on"
    assert given["env_secrets"] == [secret["metadata"]["name"]]
    asked = set(re.findall(r"env: (\w+)", INSTANCE.read_text()))
    assert asked <= {*given["env_vars"], *secret["stringData"]}
    claims = {of["metadata"]["name"] for of in everything("PersistentVolumeClaim")}
    assert {
        of["persistentVolumeClaim"]["claimName"] for of in given["volumes"] if "persistentVolumeClaim" in of
    } <= claims
    assert {of["name"] for of in given["volume_mounts"]} == {of["name"] for of in given["volumes"]}
    # Otherwise the instance is the one of the containers.
    (mine,), (theirs,) = documents(INSTANCE), documents(ROOT / "docker" / "dagster.yaml")
    for one in (mine, theirs):
        del one["run_launcher"], one["run_monitoring"]["start_timeout_seconds"]
    assert mine == theirs


def test_a_run_as_a_job_follows_the_schemas_of_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate (108 MB of schemas)")
    pytest.importorskip("dagster_k8s", reason="pip install -e .[kubernetes]")
    from dagster._config import process_config
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    given = launcher()
    checked = process_config(K8sRunLauncher.config_type(), given)
    assert checked.success, checked.errors
    inside = ("env_vars", "env_secrets", "volumes", "volume_mounts", "service_account_name", "dagster_home")
    config = DagsterK8sJobConfig(
        job_image="slm", instance_config_map="dagster-instance", postgres_password_secret=None,
        **{name: [f"{of}=x" for of in given[name]] if name == "env_vars" else given[name] for name in inside},
    )  # fmt: skip
    wanted = UserDefinedDagsterK8sConfig.from_dict(given["run_k8s_config"])
    job = ApiClient().sanitize_for_serialization(construct_dagster_k8s_job(config, ["x"], "run", wanted))
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"fsGroup": 10001} and pod["terminationGracePeriodSeconds"] == 180
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    validate.validate(job, "1.34", strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", ["base", "cpu", "runs"])
def test_each_of_the_three_is_put_together_by_one_command(overlay: str) -> None:
    command = ["kubectl", "kustomize", str(ROOT / "kubernetes" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    worker = next(
        of
        for of in yaml.safe_load_all(built.stdout)
        if (of["kind"], of["metadata"]["name"]) == ("Deployment", "worker")
    )
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (overlay == "base")
    runs = {"name": "DAGSTER_CURRENT_IMAGE", "value": container["image"]}
    assert (runs in container.get("env", [])) == (overlay == "runs"), "runs have the image of the worker"
    text = (ROOT / "kubernetes" / "base" / "kustomization.yaml").read_text()
    assert f"kubectl apply -k kubernetes/{overlay}" in text


def test_volumes_secrets_and_services_of_the_manifests_fit_together() -> None:
    found = [of for path in MANIFESTS for of in documents(path)]
    kinds = {(of["kind"], of["metadata"]["name"]) for of in found if of["kind"] != "Kustomization"}
    (kustomization,) = documents(ROOT / "kubernetes" / "base" / "kustomization.yaml")
    kinds |= {("ConfigMap", of["name"]) for of in kustomization["configMapGenerator"]}
    for of in found:
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
    labels = [of["spec"]["template"]["metadata"]["labels"] for of in found if "template" in of.get("spec", {})]
    for of in found:
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
