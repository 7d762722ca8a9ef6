"""Runs Python that a model wrote, contained: no network, no files but its own, no other processes, and limits on all.

bubblewrap (`bwrap`, a package of every Linux distribution; Flatpak contains applications with it) gives the program
namespaces of its own: processes, network, mounts, IPC. It sees the system's libraries and this Python, read-only, and
an empty /tmp in memory. Inside, limits of the kernel bound memory, processor time, processes, file sizes and open
files, and the program runs as a user without rights. From outside, a limit on time ends everything in it at once.

A machine that cannot contain a program runs none: `why_not` says what is missing.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from pipeline.errors import UserError

Ending = Literal["passed", "failed", "time", "memory", "killed"]
NOBODY = 65534  # the user without rights
OUT_OF_MEMORY = 77  # exit code
SYSTEM = ("/usr", "/lib", "/lib64", "/bin")  # read-only, where they exist
PYTHON = "/python"  # where this Python stands in the sandbox
OUTPUT = 4096  # bytes of what a program prints that are kept, to tell how it ended
SELF_TEST = "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError:\n    pass\n"

# Runs inside, before the program: the limits, then no rights, then the program from standard input.
FIRST = """
import os, resource, sys
seconds, memory, processes, file_size, nobody, out_of_memory = map(int, sys.argv[1:7])
token = sys.stdin.readline()
program = sys.stdin.read()
for what, limit in (
    (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds + 1), (resource.RLIMIT_FSIZE, file_size),
    (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, processes),
):
    resource.setrlimit(what, (limit, limit))
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(nobody, nobody, nobody)
    os.setresuid(nobody, nobody, nobody)
del os, resource
sys.argv = ["program.py"]
try:
    exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
except MemoryError:
    sys.exit(out_of_memory)
sys.stderr.write("\\n" + token)
"""


@dataclass(frozen=True)
class Limits:
    """What one program may take."""

    seconds: int = 5
    memory: int = 1 << 30  # bytes of address space of each process
    processes: int = 8
    file_size: int = 16 << 20  # bytes of each file, and of all of /tmp


@dataclass(frozen=True)
class Outcome:
    """How a program ended: `passed` if it came to its last line, and no error."""

    ending: Ending
    error: str = ""  # the last line that it printed as an error; for the person who looks, never part of a figure


def run(program: str, limits: Limits = Limits()) -> Outcome:
    """Run one program. Raises UserError on a machine that cannot contain it."""
    reason = why_not()
    if reason is not None:
        raise UserError(f"Programs of a model are not run here: {reason}.")
    return contained(program, limits)


def run_all(programs: Sequence[str], limits: Limits = Limits(), at_once: int | None = None) -> Iterable[Outcome]:
    """The outcomes of many programs, in their order; as many at once as there are processors."""
    with ThreadPoolExecutor(at_once or os.cpu_count() or 1) as pool:
        yield from pool.map(lambda program: run(program, limits), programs)


@cache
def why_not() -> str | None:
    """Why this machine cannot contain a program; None if it can. Tried once a process, with a program."""
    if sys.platform != "linux":
        return "this takes Linux, whose namespaces contain them"
    if shutil.which("bwrap") is None:
        return "install bubblewrap (`bwrap`, Debian's and Ubuntu's package bubblewrap), which contains them"
    outcome = contained(SELF_TEST, Limits(seconds=20))
    if outcome.ending != "passed":
        return f"bubblewrap cannot make namespaces on this machine ({outcome.error or outcome.ending})"
    return None


def contained(program: str, limits: Limits) -> Outcome:
    """Run the program in the sandbox, whatever `why_not` says."""
    numbers = (limits.seconds, limits.memory, limits.processes, limits.file_size, NOBODY, OUT_OF_MEMORY)
    inside = [f"{PYTHON}/bin/{Path(sys.executable).resolve().name}", "-I", "-S", "-c", FIRST, *map(str, numbers)]
    token = secrets.token_hex(16)  # printed after the program's last line: one that exits earlier has not passed
    given = f"{token}\n{program}".encode(errors="replace")
    with TemporaryFile() as errors:  # a file, since the limit on file sizes bounds it
        process = subprocess.Popen(
            [*walls(limits), *inside],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env={}, start_new_session=True,
        )  # fmt: skip
        try:
            process.communicate(given, timeout=limits.seconds + 2)
        except subprocess.TimeoutExpired:
            process.kill()  # all of the sandbox ends with it (--die-with-parent)
            process.communicate()
            return Outcome("time")
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - OUTPUT))
        lines = errors.read().decode(errors="replace").strip().splitlines()
    error = lines[-1] if lines else ""
    if error == token:
        return Outcome("passed")
    if process.returncode == 0:
        return Outcome("failed", "it ended before its last line")
    if process.returncode == OUT_OF_MEMORY or error.startswith("MemoryError"):
        return Outcome("memory", error)
    # 128 + SIGXCPU or SIGKILL of the limit on processor time
    if process.returncode in (128 + 24, 128 + 9):
        return Outcome("time" if process.returncode == 128 + 24 else "killed", error)
    return Outcome("failed", error)


def walls(limits: Limits) -> list[str]:
    """The command that starts a program in namespaces of its own."""
    command = [
        shutil.which("bwrap") or "bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
        "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
    ]  # fmt: skip
    if os.getuid() == 0:  # to become nobody, inside
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    for folder in SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), folder]
        elif path.exists():
            command += ["--ro-bind", folder, folder]
    command += ["--ro-bind", str(Path(sys.executable).resolve().parent.parent), PYTHON]
    return [
        *command, "--proc", "/proc", "--dev", "/dev", "--size", str(limits.file_size), "--tmpfs", "/tmp",
        "--chmod", "1777", "/tmp", "--chdir", "/tmp", "--",
    ]  # fmt: skip
