"""Operations: the web UIs, lost runs, rebuilding Dagster's history.

Each command starts a program of `assets/` in a separate process, since `pipeline/` must not import Dagster.
"""

from __future__ import annotations

import os
import sys

import click


def _execute(module: str, *arguments: str) -> None:
    """Replace this process with a program, so that Ctrl-C and the exit code are the program's."""
    recipe = click.get_current_context().find_root().obj
    if recipe:
        os.environ["SLM_RECIPE"] = recipe
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, help="Dagster's port.")
@click.option("--mlflow-port", default=5000, show_default=True, help="MLflow's port.")
def ui(host: str, port: int, mlflow_port: int) -> None:
    """Run the web UIs of Dagster and MLflow; Ctrl-C stops both."""
    _execute("assets.ui", "--host", host, "--port", str(port), "--mlflow-port", str(mlflow_port))


@click.command()
def reap() -> None:
    """Mark runs whose process died as failed, and free their slots."""
    _execute("assets.reaper")


@click.command()
def reindex() -> None:
    """Rebuild Dagster's history from the store, after it was deleted."""
    _execute("assets.reindex")


COMMANDS = (ui, reap, reindex)
