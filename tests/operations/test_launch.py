"""What starts the project on several machines: the files for Kubernetes follow its schemas, those for SLURM run."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
# What the two kinds of resource may have, as far as it is used here: JobSet v1alpha2, RayJob v1. What is inside of a
# template is Kubernetes' own.
JOB_SET = {"network": {"enableDNSHostnames", "subdomain"}, "failurePolicy": {"maxRestarts"}, "replicatedJobs": None}
RAY_JOB = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def resource(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((LAUNCH / name).read_text())
    return found


def job() -> dict[str, Any]:
    (of,) = resource("train.jobset.yaml")["spec"]["replicatedJobs"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}, **of["template"]}


def pods() -> list[dict[str, Any]]:
    """The templates of all pods, as pods."""
    cluster = resource("curate.rayjob.yaml")["spec"]["rayClusterSpec"]
    templates = [
        job()["spec"]["template"],
        cluster["headGroupSpec"]["template"],
        *(group["template"] for group in cluster["workerGroupSpecs"]),
    ]
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **template} for template in templates]


def test_jobs_and_pods_follow_the_schemas_of_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate (108 MB of schemas)")
    for of in (job(), *pods()):
        validate.validate(of, "1.34", strict=True)


def test_the_set_of_jobs_and_the_job_of_ray_have_the_keys_of_their_kinds() -> None:
    train = resource("train.jobset.yaml")
    assert (train["apiVersion"], train["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    for key, value in train["spec"].items():
        assert JOB_SET[key] is None or value.keys() <= JOB_SET[key]
    assert all(of.keys() <= {"name", "replicas", "template"} for of in train["spec"]["replicatedJobs"])
    curate = resource("curate.rayjob.yaml")
    assert (curate["apiVersion"], curate["kind"]) == ("ray.io/v1", "RayJob")
    assert curate["spec"].keys() <= RAY_JOB
    cluster = curate["spec"]["rayClusterSpec"]
    assert cluster.keys() <= {"headGroupSpec", "workerGroupSpecs"}
    assert cluster["headGroupSpec"].keys() <= {"rayStartParams", "template"}
    assert all(group.keys() <= WORKERS for group in cluster["workerGroupSpecs"])


def test_pods_use_the_volumes_and_the_namespace_of_the_deployment() -> None:
    claims = {
        of["metadata"]["name"] for of in yaml.safe_load_all((ROOT / "kubernetes/base/storage.yaml").read_text()) if of
    }
    (namespace,) = yaml.safe_load_all((ROOT / "kubernetes/base/namespace.yaml").read_text())
    for name in ("train.jobset.yaml", "curate.rayjob.yaml"):
        assert resource(name)["metadata"]["namespace"] == namespace["metadata"]["name"]
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert volumes["data"]["persistentVolumeClaim"]["claimName"] in claims
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
            assert {"name": "SLM_DATA", "value": "/data"} in container["env"]


def test_the_set_of_jobs_meets_at_its_first_pod_with_as_many_processes_as_it_has() -> None:
    train = resource("train.jobset.yaml")
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    given = dict(re.findall(r"--([\w-]+)=(\S+)", " ".join(container["command"])))
    (of,) = train["spec"]["replicatedJobs"]
    first = f"{train['metadata']['name']}-{of['name']}-0-0.{train['spec']['network']['subdomain']}"
    assert given["rdzv-endpoint"] == f"{first}:{container['ports'][0]['containerPort']}"
    assert int(given["nnodes"]) == job()["spec"]["completions"] == job()["spec"]["parallelism"]
    assert given["nproc-per-node"] == container["resources"]["limits"]["nvidia.com/gpu"]


def submitted(name: str, folder: Path, **more: str) -> list[str]:
    """The commands that a job of SLURM runs on nodes a, b and c, in order; of a cluster that answers at once."""
    # What runs in the background has begun before the command that the job ends with.
    begun = f'while [[ "$*" == *"slm make"* && $(grep -c "ray start" {folder}/ran) -lt 3 ]]; do sleep 0.1; done'
    (folder / "srun").write_text(f'#!/bin/bash\n{begun}\necho "$@" >> {folder}/ran\n')
    (folder / "scontrol").write_text("#!/bin/bash\nprintf 'a\\nb\\nc\\n'\n")
    for program in ("srun", "scontrol"):
        (folder / program).chmod(0o755)
    given = {
        "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "[a-c]", "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_ON_NODE": "4", **more,
    }  # fmt: skip
    done = subprocess.run(["bash", str(LAUNCH / name)], env=given, capture_output=True, text=True, timeout=60)
    if done.returncode:
        return [done.stderr]
    return (folder / "ran").read_text().splitlines()


STORE = {"SLM_DATA": "/shared/slm", "SLM_RECIPE": "/shared/korean.yaml"}


def test_training_on_slurm_starts_torchrun_on_every_node_and_meets_at_the_first(tmp_path: Path) -> None:
    (command,) = submitted("train.sbatch", tmp_path, **STORE)
    assert "torchrun --nnodes=3 --nproc-per-node=4 " in command
    assert "--rdzv-id=17 --rdzv-backend=c10d --rdzv-endpoint=a:29500" in command
    assert command.endswith("-m pipeline.cli make pretrained_model")


def test_curation_on_slurm_starts_ray_on_every_node_and_the_command_on_the_first(tmp_path: Path) -> None:
    ran = submitted("curate.sbatch", tmp_path, **STORE, SLM_ASSET="curated_documents")
    assert sum("--nodelist=a ray start --head --port=6379" in command for command in ran) == 1
    joined = [command for command in ran if "ray start --address=a:6379" in command]
    assert sorted(re.findall(r"--nodelist=(\w)", " ".join(joined))) == ["b", "c"]
    assert [command for command in ran if "slm make" in command] == [
        "--nodes=1 --ntasks=1 --overlap --nodelist=a slm make curated_documents"
    ]


@pytest.mark.parametrize("name", ["train.sbatch", "curate.sbatch"])
def test_a_job_without_a_store_says_so_before_it_starts_anything(name: str, tmp_path: Path) -> None:
    (complaint,) = submitted(name, tmp_path)
    assert "SLM_DATA: is the folder of the artifacts, on all nodes" in complaint
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["train.sbatch", "curate.sbatch"])
def test_jobs_of_slurm_say_how_they_are_started_and_leave_time_for_a_checkpoint(name: str) -> None:
    text = (LAUNCH / name).read_text()
    assert f"sbatch launch/{name}" in text
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert options["ntasks-per-node"] == "1" and options["signal"] == "TERM@120" and "requeue" in options
    assert "python3" not in text and "/usr/bin" not in text  # the Python of the environment it is started in
