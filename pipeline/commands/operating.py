"""Operating: the pages in the browser, runs that died, Dagster's history made again.

Each starts a program of `assets/` in a process of its own, since nothing in `pipeline/` may import Dagster.
"""

from __future__ import annotations

import os
import sys

import click


def _become(module: str, *arguments: str) -> None:
    """Replace this process by a program, so that Ctrl-C and the exit code are the program's own."""
    recipe = click.get_current_context().find_root().obj
    if recipe:
        os.environ["SLM_RECIPE"] = recipe
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, help="Of Dagster.")
@click.option("--mlflow-port", default=5000, show_default=True, help="Of MLflow.")
def ui(host: str, port: int, mlflow_port: int) -> None:
    """Show Dagster and MLflow in the browser; Ctrl-C stops both."""
    _become("assets.ui", "--host", host, "--port", str(port), "--mlflow-port", str(mlflow_port))


@click.command()
def reap() -> None:
    """Mark runs whose process died as failed, and free what they held."""
    _become("assets.reaper")


@click.command()
def reindex() -> None:
    """Show what lies in the store in Dagster again, after its history was deleted."""
    _become("assets.reindex")


COMMANDS = (ui, reap, reindex)
