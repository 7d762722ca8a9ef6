"""`make ui`: its ports, and the addresses of the links between its servers. That it stops all: tests/operations."""

import socket
from collections.abc import Iterator

import pytest

from assets import ui
from pipeline import tracking

OPTIONS = ["--port", "3100", "--mlflow-port", "5100", "--report-port", "3101"]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("option", ui.PORTS)
def test_a_taken_port_is_a_sentence_with_the_option_to_change(option, taken, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    name = option.replace("_", "-")
    assert ui.main([*OPTIONS, f"--{name}", str(taken)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Port {taken} cannot be used (Address already in use)")
    assert f"make ui {option.upper()}=" in line and f"slm ui --{name} " in line


def test_one_port_for_two_servers_is_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    assert ui.main(["--port", port, "--mlflow-port", "0", "--report-port", port]) == 1
    assert "another server of this command has it" in capsys.readouterr().err


def test_links_lead_where_a_browser_finds_the_servers(monkeypatch):
    monkeypatch.delenv("SLM_MLFLOW_UI", raising=False)
    monkeypatch.delenv("SLM_REPORT_UI", raising=False)
    here = ui.links(ui.parse_arguments(OPTIONS), with_mlflow=True)
    assert here == {"SLM_REPORT_UI": "http://127.0.0.1:3101", "SLM_MLFLOW_UI": "http://127.0.0.1:5100"}
    assert "SLM_MLFLOW_UI" not in ui.links(ui.parse_arguments(OPTIONS), with_mlflow=False), "a server of its own"
    everywhere = ui.links(ui.parse_arguments([*OPTIONS, "--host", "0.0.0.0"]), with_mlflow=True)
    assert everywhere["SLM_REPORT_UI"] == f"http://{socket.gethostname()}:3101"
    monkeypatch.setenv("SLM_REPORT_UI", "https://reports.example.org")
    assert "SLM_REPORT_UI" not in ui.links(ui.parse_arguments(OPTIONS), with_mlflow=True), "what was chosen stays"


@pytest.mark.parametrize(
    ("server", "seen", "site"),
    [
        ("http://mlflow:5000", "http://127.0.0.1:5100/", "http://127.0.0.1:5100"),
        ("http://me:secret@mlflow:5000/", None, "http://mlflow:5000"),
        ("sqlite:///mlflow.db", None, "http://127.0.0.1:5000"),
    ],
)
def test_the_link_to_a_run_leads_where_a_browser_finds_it(server, seen, site, monkeypatch):
    class Client:
        def get_run(self, run_id):
            return type("Run", (), {"info": type("Info", (), {"experiment_id": "7"})})

    monkeypatch.setattr(tracking, "connect", Client)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    if seen:
        monkeypatch.setenv("SLM_MLFLOW_UI", seen)
    else:
        monkeypatch.delenv("SLM_MLFLOW_UI", raising=False)
    assert tracking.link("ab") == f"{site}/#/experiments/7/runs/ab?workflowType=machine_learning"


def test_mlflow_opens_on_the_curves_of_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("SLM_TRACKING", raising=False)
    assert tracking.curves("mine") == tracking.curves(None) == "/#/experiments?workflowType=machine_learning"
    with tracking.run("pretrained_model", "mine · pretrained", {tracking.RECIPE: "mine"}, {}):
        pass
    where = tracking.curves("mine")
    assert "compareRunsMode=CHART" in where and "workflowType=machine_learning" in where
    experiment = tracking.connect().get_experiment_by_name("mine").experiment_id
    assert where.startswith(f"/#/experiments/{experiment}/runs?")
