"""What starts the project on several machines: the files for Kubernetes follow its schemas, those for SLURM run."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
# What the two kinds of resource may have, as far as it is used here: JobSet v1alpha2, RayJob v1. What is inside of a
# template is Kubernetes' own.
JOB_SET = {"network": {"enableDNSHostnames", "subdomain"}, "failurePolicy": {"maxRestarts"}, "replicatedJobs": None}
RAY_JOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
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
    assert cluster.keys() <= {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["headGroupSpec"].keys() <= {"rayStartParams", "template"}
    assert all(group.keys() <= WORKERS for group in cluster["workerGroupSpecs"])


def test_both_use_one_recipe_which_a_command_at_their_top_puts_there() -> None:
    given = set()
    for pod in (pods()[0], pods()[1]):  # of the workers of Ray none reads it
        (container,) = pod["spec"]["containers"]
        (given_here,) = (of["value"] for of in container["env"] if of["name"] == "SLM_RECIPE")
        (mounted,) = (of["mountPath"] for of in container["volumeMounts"] if of["name"] == "recipes")
        assert {"name": "recipes", "configMap": {"name": "recipes"}} in pod["spec"]["volumes"]
        assert Path(given_here).parent == Path(mounted)
        given.add(Path(given_here).name)
    (recipe,) = given
    for name in ("train.jobset.yaml", "curate.rayjob.yaml"):
        text = (LAUNCH / name).read_text()
        assert f"kubectl -n slm create configmap recipes --from-file={recipe}" in text
        assert f"kubectl apply -f launch/{name}" in text and f"kubectl replace --force -f launch/{name}" in text


def test_the_image_is_one_that_kuberay_can_start() -> None:
    """It starts Ray in a login shell, asks pods by wget, and chooses how to ask by the version of Ray."""
    image = (ROOT / "docker" / "Dockerfile").read_text()
    assert re.search(r"apt-get install .*\bwget\b", image)
    assert "'export PATH=/opt/slm/.venv/bin:$PATH' > /etc/profile.d/slm.sh" in image
    version = resource("curate.rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version}\n" in (ROOT / "requirements.lock").read_text()


def test_what_trains_tells_the_mlflow_of_the_deployment() -> None:
    (literals,) = yaml.safe_load((ROOT / "kubernetes/base/kustomization.yaml").read_text())["configMapGenerator"]
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    (address,) = (of["value"] for of in container["env"] if of["name"] == "MLFLOW_TRACKING_URI")
    assert f"MLFLOW_TRACKING_URI={address}" in literals["literals"]


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


def test_the_job_of_the_guide_keeps_its_checkpoints_and_finds_its_recipe() -> None:
    guide = (ROOT / "docs" / "guide" / "many-machines.md").read_text()
    (block,) = re.findall(r"```yaml\n(apiVersion.*?)```", guide, re.DOTALL)
    service, found = yaml.safe_load_all(block)
    pod = found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {of["name"]: of["value"] for of in container["env"]}
    mounts = {of["mountPath"]: of["name"] for of in container["volumeMounts"]}
    (data,) = (of for of in pod["volumes"] if of["name"] == mounts[variables["SLM_DATA"]])
    assert "persistentVolumeClaim" in data, "a pod's own disk is gone with it"
    assert f"create configmap recipes --from-file={Path(variables['SLM_RECIPE']).name}" in guide
    assert mounts[str(Path(variables["SLM_RECIPE"]).parent)] == "recipes"
    assert pod["securityContext"] == {"fsGroup": 10001} and service["metadata"]["name"] == pod["subdomain"]
    name = found["metadata"]["name"]
    assert f"--rdzv-endpoint={name}-0.{name}:29500" in container["command"]


def submitted(name: str, folder: Path, **more: str) -> list[str]:
    """The commands that a job of SLURM runs on nodes a, b and c, in order; of a cluster that answers at once."""
    # What runs in the background has begun before the command that the job ends with.
    begun = f'while [[ "$*" == *"slm make"* && $(grep -c "ray start" {folder}/ran) -lt 3 ]]; do sleep 0.1; done'
    scripts = {
        "srun": f'{begun}\necho "$@" >> {folder}/ran\necho "$SRUN_CPUS_PER_TASK" >> {folder}/cores\n'
        '[[ "$*" == *"$FAILS"* && -n "${FAILS:-}" ]] && exit 7; exit 0\n',
        "scontrol": f'if [ "$1" = requeue ]; then echo "$@" >> {folder}/queued; else printf "a\\nb\\nc\\n"; fi\n',
        "slm": "echo '  executor: '${EXECUTOR:-ray}\n",
        "ray": "",
    }
    for program, lines in scripts.items():
        if program != more.get("WITHOUT"):
            (folder / program).write_text(f"#!/bin/bash\n{lines}")
            (folder / program).chmod(0o755)
    given = {
        "PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "[a-c]", "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_ON_NODE": "4", **more,
    }  # fmt: skip
    done = subprocess.run(["bash", str(LAUNCH / name)], env=given, capture_output=True, text=True, timeout=60)
    if done.returncode:
        return [done.stderr]
    return (folder / "ran").read_text().splitlines()


def cores_asked_for(folder: Path) -> set[str]:
    return set((folder / "cores").read_text().split())


STORE = {"SLM_DATA": "/shared/slm", "SLM_RECIPE": "/shared/korean.yaml"}


def test_training_on_slurm_starts_torchrun_on_every_node_and_meets_at_the_first(tmp_path: Path) -> None:
    (command,) = submitted("train.sbatch", tmp_path, **STORE)
    assert "torchrun --nnodes=3 --nproc-per-node=4 " in command
    assert "--rdzv-id=17 --rdzv-backend=c10d --rdzv-endpoint=a:29500" in command
    assert command.endswith("-m pipeline.cli make pretrained_model")
    assert cores_asked_for(tmp_path) == {"32"}, "without it, a step gets one core"


def test_curation_on_slurm_starts_ray_on_every_node_and_the_command_on_the_first(tmp_path: Path) -> None:
    ran = submitted("curate.sbatch", tmp_path, **STORE, SLM_ASSET="curated_documents")
    assert sum("--nodelist=a ray start --head --port=6379" in command for command in ran) == 1
    joined = [command for command in ran if "ray start --address=a:6379" in command]
    assert sorted(re.findall(r"--nodelist=(\w)", " ".join(joined))) == ["b", "c"]
    assert [command for command in ran if "slm make" in command] == [
        "--nodes=1 --ntasks=1 --overlap --nodelist=a slm make curated_documents"
    ]
    assert cores_asked_for(tmp_path) == {"32"}


@pytest.mark.parametrize(("name", "step"), [("train.sbatch", "pipeline.cli make"), ("curate.sbatch", "slm make")])
@pytest.mark.parametrize(("left", "again"), [(60, True), (7200, False)])
def test_a_job_whose_time_is_over_is_queued_again_and_one_that_fails_is_not(
    name: str, step: str, left: int, again: bool, tmp_path: Path
) -> None:
    submitted(name, tmp_path, **STORE, FAILS=step, SLURM_JOB_END_TIME=str(int(time.time()) + left))
    queued = tmp_path / "queued"
    assert (queued.exists() and queued.read_text() == "requeue 17\n") == again


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"WITHOUT": "ray"}, "ray is not in this environment"),
        (
            {"EXECUTOR": "processes"},
            "/shared/korean.yaml leaves all nodes but one idle: add `execution: {executor: ray}`",
        ),
        ({"FAILS": "ray "}, "the head of the Ray cluster has ended on a"),
    ],
)
def test_curation_that_cannot_use_its_nodes_ends_with_a_sentence(
    more: dict[str, str], said: str, tmp_path: Path
) -> None:
    (complaint,) = submitted("curate.sbatch", tmp_path, **STORE, **more)
    assert said in complaint
    assert not (tmp_path / "ran").exists() or "slm make" not in (tmp_path / "ran").read_text()


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
