"""Operations: the web UIs, lost runs, rebuilding Dagster's history.

Each command starts a program of `assets/` in a separate process, since `pipeline/` must not import Dagster.
"""

from __future__ import annotations

import os
import sys

import click

from pipeline import places


def _execute(module: str, *arguments: str) -> None:
    """Replace this process with a program, so that Ctrl-C and the exit code are the program's.

    It runs in the project's folder, where Dagster finds the code and its history.
    """
    recipe = click.get_current_context().find_root().obj or os.environ.get("SLM_RECIPE")
    home = places.project_folder()
    if recipe:
        os.environ["SLM_RECIPE"] = str(places.recipe_file(recipe).resolve())
    for name in (name for name in ("SLM_DATA", "SLM_LOCATIONS", "DAGSTER_HOME") if os.environ.get(name)):
        os.environ[name] = _from_here(os.environ[name])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    os.chdir(home)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def _from_here(address: str) -> str:
    """A path that stays the same in another folder; an address of a store elsewhere as it is."""
    return address if "://" in address else os.path.abspath(address)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, help="Dagster's port.")
@click.option("--mlflow-port", default=5000, show_default=True, help="MLflow's port.")
@click.option("--report-port", default=3001, show_default=True, help="The port of the reports.")
def ui(host: str, port: int, mlflow_port: int, report_port: int) -> None:
    """Run the web UIs of Dagster and MLflow, and the reports; Ctrl-C stops all."""
    ports = ("--port", str(port), "--mlflow-port", str(mlflow_port), "--report-port", str(report_port))
    _execute("assets.ui", "--host", host, *ports)


@click.command()
def reap() -> None:
    """Mark runs whose process died as failed, and free their slots."""
    _execute("assets.reaper")


@click.command()
def reindex() -> None:
    """Rebuild Dagster's history from the store, after it was deleted."""
    _execute("assets.reindex")


COMMANDS = (ui, reap, reindex)
