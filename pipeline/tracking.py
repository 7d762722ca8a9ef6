"""Tracking in MLflow: the settings, curves, figures and model of each training and evaluation.

MLflow has a copy for people to read; it never affects an artifact. Runs are written with an explicit id (no global
"active run") and in batches (one call per figure takes 65-85 ms, a batch of hundreds 0.1-0.4 s). A server that fails
during a run costs figures, not the training.

Runs are written to MLFLOW_TRACKING_URI, or else to `mlflow.db` and `mlruns/` in the project's folder, the defaults
of `mlflow ui` there. SLM_TRACKING=off turns tracking off.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import locations, places
from pipeline.errors import UserError
from pipeline.flattening import flattened
from pipeline.owner import owner
from pipeline.process_identity import identity
from pipeline.store import disk

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "slm"  # of runs without a recipe
# Asks MLflow's pages for the view of trainings; without it they open on one of agents, of which there are none here.
OF_TRAININGS = "workflowType=machine_learning"
BATCH = 500  # figures per call; MLflow's limit is 1,000
FLUSH_SECONDS = 10.0
SYSTEM_SECONDS = 15.0
# Tags that identify runs.
RECIPE, KIND, FINGERPRINT, DAGSTER_RUN = "slm.recipe", "slm.kind", "slm.fingerprint", "dagster.run_id"
EXPERIMENT_OF, CELL = "slm.experiment", "slm.cell"  # of the runs of an experiment
PID, STARTED = "slm.pid", "slm.written_since"  # the writing process; lost runs are detected by it
PROCESS = "slm.process"  # its identity, whatever the clock says (`pipeline/process_identity.py`)
OWNER, USER = "slm.owner", "mlflow.user"  # whose it is; the second is what MLflow's own columns show
MADE_ON = "slm.made_on."  # and what: processor, libraries, threads

ADVISORY_LOCK = 0x736C6D  # "slm": any number that all of these programs share

_connected: set[str] = set()  # the addresses that this process has looked at
_logger = logging.getLogger(__name__)


class Run:
    """A run being written. Figures are buffered and sent in batches; `step` is in tokens."""

    def __init__(self, client: MlflowClient, run_id: str, seen: dict[str, int]):
        self.id = run_id
        self._client = client
        self._seen = seen  # last step by figure, in a resumed run
        self._pending: list[Any] = []
        self._sent = self._measured = time.monotonic()
        self._failed = False

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Log figures at a step. A step that the run already has (repeated after a resume) is skipped."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for name, value in values.items():
            if step > self._seen.get(name, -1):
                self._pending.append(Metric(name, float(value), now, int(step)))
        if time.monotonic() - self._measured > SYSTEM_SECONDS:
            self._measured = time.monotonic()
            self._pending += [Metric(name, value, now, int(step)) for name, value in system_figures().items()]
        if len(self._pending) >= BATCH or time.monotonic() - self._sent > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        self._sent = time.monotonic()
        for start in range(0, len(pending), BATCH):
            self._send("figures", lambda at=start: self._client.log_batch(self.id, metrics=pending[at : at + BATCH]))  # type: ignore[misc]

    def tags(self, values: dict[str, Any]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(name, str(value)[:5000]) for name, value in values.items()]
        self._send("tags", lambda: self._client.log_batch(self.id, tags=tags))

    def artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Copy a file or a folder with its contents to the run."""
        if Path(path).is_dir():
            self._send(str(path), lambda: self._client.log_artifacts(self.id, str(path), folder))
        else:
            self._send(str(path), lambda: self._client.log_artifact(self.id, str(path), folder))

    def text(self, text: str, file: str) -> None:
        self._send(file, lambda: self._client.log_text(self.id, text, file))

    def figure(self, figure: Any, file: str) -> None:
        """Save a matplotlib figure as a picture."""
        self._send(file, lambda: self._client.log_figure(self.id, figure, file))

    def _send(self, what: str, call: Any) -> None:
        """Call MLflow. The first failure is logged and ends tracking, but not the training."""
        if self._failed:
            return
        try:
            call()
        except Exception as error:
            self._failed = True
            _logger.warning(
                "Tracking of MLflow run %s failed (%s: %s) and is off for the rest of the run; the work continues.",
                self.id,
                what,
                redacted(str(error)),
            )


class NoRun:
    """Accepts everything and writes nothing (SLM_TRACKING=off)."""

    id = ""

    def metrics(self, values: dict[str, float], step: int) -> None: ...
    def flush(self) -> None: ...
    def tags(self, values: dict[str, Any]) -> None: ...
    def artifact(self, path: str | Path, folder: str | None = None) -> None: ...
    def text(self, text: str, file: str) -> None: ...
    def figure(self, figure: Any, file: str) -> None: ...


# What a training writes to, whether MLflow is on or off.
AnyRun = Run | NoRun


@contextmanager
def run(
    kind: str, name: str, tags: dict[str, Any], params: dict[str, Any], resume: str | None = None
) -> Iterator[Run | NoRun]:
    """An MLflow run for one training or evaluation, in the experiment of its recipe (`tags["slm.recipe"]`) and store.

    kind: what is made (`pretrained_model`). resume: the id of the run that a checkpoint belongs to, which is resumed,
    even if a kill left it RUNNING. The run ends as FINISHED, KILLED (interrupted) or FAILED. Raises UserError if MLflow
    cannot be reached at the start.
    """
    if not enabled():
        yield NoRun()
        return
    from mlflow.exceptions import MlflowException

    try:
        client = connect()
        experiment = _experiment(client, locations.scoped(str(tags.get(RECIPE, EXPERIMENT))))
        current = _resume(client, resume) or _start(client, experiment, kind, name, tags, params)
    except (MlflowException, OSError) as error:
        reason = redacted(str(error)).splitlines()[0]
        raise UserError(
            f"MLflow at {redacted(tracking_uri())} cannot be used ({reason}): start it, correct "
            "MLFLOW_TRACKING_URI, or set SLM_TRACKING=off."
        ) from error
    status = "FAILED"
    try:
        yield current
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Exception as error:
        status = "KILLED" if type(error).__name__ in ("Stopped", "Interrupted") else "FAILED"
        raise
    finally:
        current.flush()
        current._send("the end", lambda: client.set_terminated(current.id, status))


def named(recipe: str, kind: str, fingerprint: str, parameters: int | None = None) -> str:
    """The name of a run as people tell runs apart: `mine · pretrained · 6.5 M · 6994ff07`."""
    size = f"{parameters / 1e6:.1f} M" if parameters is not None and parameters >= 1e5 else ""
    size = size or (f"{parameters:,}" if parameters is not None else "")
    kind = kind.removesuffix("_model").replace("_", " ")
    return " · ".join(part for part in (recipe, kind, size, fingerprint[:8]) if part)


def enabled() -> bool:
    return os.environ.get("SLM_TRACKING", "on").lower() not in ("off", "0", "false", "no")


def tracking_uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{places.project_folder() / 'mlflow.db'}"


def redacted(text: str) -> str:
    """A URL, or a message that contains one, without user name and password."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def connect() -> MlflowClient:
    # By default MLflow retries an unreachable server for minutes; a training run should fail fast.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    if not os.environ.get("MLFLOW_TRACKING_URI"):  # else MLflow puts files beside whoever makes an experiment first
        os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", str(places.project_folder() / "mlruns"))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each small file
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    uri = tracking_uri()
    if uri in _connected:
        return MlflowClient(uri)
    with _alone(uri):
        client = MlflowClient(uri)
    _connected.add(uri)
    return client


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """While the block runs, no other process has its first look at this database.

    MLflow creates the tables of a new one then, which fails where two do it at once. A server does that by itself; of a
    database that cannot be reached, MLflow says so.
    """
    if uri.startswith("sqlite:///"):
        with disk.alone(Path(uri.removeprefix("sqlite:///"))):
            yield
        return
    if not uri.startswith("postgresql"):
        yield
        return
    import sqlalchemy

    with ExitStack() as lock:
        with suppress(sqlalchemy.exc.SQLAlchemyError):
            engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
            connection = lock.enter_context(engine.connect())  # the lock ends with it, however it ends
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:number)"), {"number": ADVISORY_LOCK})
        yield


def prepare() -> None:
    """Create the database once, before two runs could do so at the same time."""
    if enabled():
        experiments(connect())


def link(run_id: str) -> str:
    """URL of a run's page: where SLM_MLFLOW_UI says that a browser finds MLflow, else on the tracking server.

    `make ui` sets that variable, and so do deployments, in which only other containers know the server by its name.
    """
    uri = tracking_uri()
    there = redacted(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    site = os.environ.get("SLM_MLFLOW_UI", "").rstrip("/") or there
    return f"{site}/#/experiments/{connect().get_run(run_id).info.experiment_id}/runs/{run_id}?{OF_TRAININGS}"


def curves(recipe: str | None) -> str:
    """What follows the address of MLflow's server where it shows the curves of a recipe; of several, their list."""
    found = connect().get_experiment_by_name(locations.scoped(recipe)) if recipe and enabled() else None
    if found is None:
        return f"/#/experiments?{OF_TRAININGS}"
    return f"/#/experiments/{found.experiment_id}/runs?{OF_TRAININGS}&compareRunsMode=CHART"


def find(fingerprint: str) -> str | None:
    """Id of the newest run of this store's artifact with this fingerprint; None if there is none."""
    if not enabled():
        return None
    from mlflow.exceptions import MlflowException

    try:
        client = connect()
        query = f"tags.`{FINGERPRINT}` = '{fingerprint}'"
        runs = client.search_runs(experiments_here(client), query, max_results=1)
    except MlflowException:
        return None
    return runs[0].info.run_id if runs else None


def close_lost(is_lost: Any, client: MlflowClient | None = None) -> list[str]:
    """Mark RUNNING runs as FAILED if `is_lost(tags)` says that their process is gone; returns their ids.

    Where MLflow cannot be reached, a line in the log says so, and the next call does it.
    """
    if not enabled():
        return []
    from mlflow.exceptions import MlflowException

    closed = []
    try:
        client = client or connect()
        for candidate in client.search_runs(experiments(client), "attributes.status = 'RUNNING'", max_results=1000):
            if is_lost(candidate.data.tags):
                client.set_terminated(candidate.info.run_id, "FAILED")
                closed.append(candidate.info.run_id)
    except (MlflowException, OSError) as error:
        reason = redacted(str(error)).splitlines()[0][:200]
        _logger.warning(
            "MLflow at %s cannot be used now (%s); its lost runs stay open.", redacted(tracking_uri()), reason
        )
    return closed


def system_figures() -> dict[str, float]:
    """The load of this machine, under the names of MLflow's system metrics."""
    import psutil

    memory = psutil.virtual_memory()
    figures = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / 1e6,
    }
    import sys

    torch = sys.modules.get("torch")  # used only if it is loaded already
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            figures[f"system/gpu_{index}_memory_usage_megabytes"] = (total - free) / 1e6
            figures[f"system/gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
    return figures


def experiments(client: MlflowClient) -> list[str]:
    """Ids of all experiments; runs of versions before this one are in the experiment `slm`."""
    return [found.experiment_id for found in client.search_experiments()]


def experiments_here(client: MlflowClient) -> list[str]:
    """Ids of the experiments of this store: those that begin with its name, or that have no store's name."""
    store = locations.store_name()
    found = client.search_experiments()
    return [of.experiment_id for of in found if of.name.rpartition("/")[0] == store]


def _experiment(client: MlflowClient, recipe: str) -> str:
    """Id of the experiment of a name, which is created if there is none, and restored if it was deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(recipe)
    if found is None:
        try:
            return str(client.create_experiment(recipe))
        except MlflowException:  # another run has just created it
            found = client.get_experiment_by_name(recipe)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _writer() -> dict[str, str]:
    """Tags that identify this process."""
    return {PID: f"{os.uname().nodename}:{os.getpid()}", STARTED: repr(time.time()), PROCESS: identity(os.getpid())}


def _start(
    client: MlflowClient, experiment: str, kind: str, name: str, tags: dict[str, Any], params: dict[str, Any]
) -> Run:
    from mlflow.entities import Param

    all_tags = {KIND: kind, OWNER: owner(), USER: owner(), **_writer()} | {
        key: str(value) for key, value in tags.items()
    }
    if os.environ.get("SLM_DAGSTER_RUN"):
        all_tags.setdefault(DAGSTER_RUN, os.environ["SLM_DAGSTER_RUN"])
    created = client.create_run(experiment, tags=all_tags, run_name=name)
    flat = [Param(key, str(value)[:6000]) for key, value in flattened(params)]
    for start in range(0, len(flat), 100):
        client.log_batch(created.info.run_id, params=flat[start : start + 100])
    return Run(client, created.info.run_id, {})


def _resume(client: MlflowClient, run_id: str | None) -> Run | None:
    """The run of a checkpoint, set to RUNNING again; None if MLflow no longer has it."""
    if not run_id:
        return None
    from mlflow.exceptions import MlflowException

    try:
        existing = client.get_run(run_id)
    except MlflowException:
        return None
    client.update_run(run_id, status="RUNNING")
    for name, value in _writer().items():
        client.set_tag(run_id, name, value)
    names = [name for name in existing.data.metrics if not name.startswith("system/")]
    seen = {name: max(point.step for point in client.get_metric_history(run_id, name)) for name in names}
    return Run(client, run_id, seen)
