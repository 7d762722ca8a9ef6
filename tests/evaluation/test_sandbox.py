"""What a model wrote is contained: six ways out, each tried; and a machine that cannot contain it runs nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.evaluation.code import sandbox
from pipeline.evaluation.code.sandbox import Limits, Outcome, run, run_all

contains = pytest.mark.skipif(sandbox.why_not() is not None, reason=f"cannot contain programs: {sandbox.why_not()}")
SHORT = Limits(seconds=3)


@contains
def test_a_program_passes_or_fails_by_how_it_ends():
    assert run("assert sum(range(5)) == 10") == Outcome("passed")
    assert run("assert sum(range(5)) == 11") == Outcome("failed", "AssertionError")
    assert run("def f(:").ending == "failed"
    assert run("import sys; sys.exit(3)").ending == "failed"
    assert run("import collections, dataclasses, heapq, itertools, math, re, typing") == Outcome("passed")


@contains
def test_what_a_program_prints_does_not_make_it_pass():
    assert run("print('passed')\nraise SystemExit(1)").ending == "failed"


@contains
def test_a_program_that_leaves_early_has_not_passed():
    for leaving in ("import sys; sys.exit(0)", "raise SystemExit", "import os; os._exit(0)", "quit()"):
        assert run(leaving + "\nassert False").ending == "failed", leaving


@contains
def test_endless_output_is_bounded():
    assert run("import sys\nwhile True: sys.stderr.write('x' * 2**20)", SHORT).ending != "passed"
    assert run("while True: print('x' * 2**20)", SHORT).ending in ("time", "killed")


@contains
def test_an_endless_loop_ends_in_time_and_so_does_one_that_sleeps():
    began = time.monotonic()
    assert run("while True: pass", SHORT).ending in ("time", "killed")
    assert run("import time; time.sleep(60)", SHORT).ending == "time"
    assert time.monotonic() - began < 20


@contains
def test_a_fork_bomb_meets_the_limit_on_processes_and_leaves_nothing():
    bomb = (
        "import os, time\nmade = 0\n"
        "try:\n    while True:\n        if os.fork() == 0:\n            time.sleep(30)\n            os._exit(0)\n"
        "        made += 1\n"
        "except OSError:\n    assert 0 < made < 8, made\n    print('refused')\n"
    )
    before = processes()
    assert run(bomb, SHORT) == Outcome("passed")
    deadline = time.monotonic() + 10
    while processes() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes() - before, "children of the program outlived it"


def processes() -> set[int]:
    """Processes that run this Python in a sandbox."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and b"/python/bin/" in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


@contains
def test_a_hundred_gigabytes_are_refused():
    assert run("x = bytearray(100 * 2**30)", SHORT).ending == "memory"
    assert run("x = []\nwhile True:\n    x.append(bytearray(2**24))", Limits(seconds=20)).ending == "memory"


@contains
def test_a_file_outside_is_neither_read_nor_written(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    tmp_path.chmod(0o777)
    secret.chmod(0o666)
    assert run(f"open({str(secret)!r}).read()").ending == "failed"
    assert run(f"open({str(secret)!r}, 'w').write('changed')").ending == "failed"
    for place in (f"/python/lib/{secret.name}", "/usr/x", "/etc/x", "/x", "/dev/x"):
        assert run(f"open({place!r}, 'w').write('x')").ending == "failed", place
    assert run("import os; os.remove('/usr/bin/env')").ending == "failed"
    assert secret.read_text() == "secret"
    assert (
        run("import os; assert not os.environ.get('HOME'), os.environ; assert not os.listdir('/tmp')").ending
        == "passed"
    )


@contains
def test_its_own_files_work_are_bounded_and_are_gone_afterwards():
    assert run("open('/tmp/own', 'w').write('x' * 1000)\nassert len(open('own').read()) == 1000").ending == "passed"
    assert run("import os; assert not os.path.exists('/tmp/own')").ending == "passed"
    assert run("f = open('/tmp/large', 'wb')\nwhile True: f.write(bytes(2**20))").ending != "passed"


@contains
def test_there_is_no_network_not_even_to_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.2)
        tried = run(f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)")
        assert tried.ending == "failed"
        with pytest.raises(TimeoutError):
            server.accept()
    assert run("import socket; socket.getaddrinfo('example.org', 80)").ending == "failed"


@contains
def test_no_signal_reaches_the_parent_nor_any_process_outside():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for victim in (os.getpid(), child.pid):
            run(f"import os, signal\nos.kill({victim}, signal.SIGKILL)")
        run("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
        run("import os, signal\nos.kill(-1, signal.SIGKILL)")
        assert child.poll() is None
        seen = "import os; assert len([name for name in os.listdir('/proc') if name.isdecimal()]) < 5"
        assert run(seen).ending == "passed"
    finally:
        child.kill()
        child.wait()


@contains
def test_a_program_has_no_rights_and_gets_none_back():
    assert run("import os; assert os.getuid() != 0").ending == "passed"
    for tried in ("os.setuid(0)", "os.chroot('/tmp')", "os.setgroups([0])", "os.nice(-5)"):
        assert run(f"import os; {tried}").ending == "failed", tried
    assert run("import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))").ending == "failed"


@contains
def test_many_at_once_keep_their_order():
    programs = [f"assert {i} % 3" for i in range(9)]
    assert [outcome.ending for outcome in run_all(programs)] == ["failed", "passed", "passed"] * 3
    assert threading.active_count() < 50


def test_a_machine_that_cannot_contain_refuses_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    sandbox.why_not.cache_clear()
    monkeypatch.setenv("PATH", "")
    ran: list[str] = []
    monkeypatch.setattr(sandbox, "contained", lambda program, limits: ran.append(program))
    try:
        with pytest.raises(UserError, match="Programs of a model are not run here: install bubblewrap") as caught:
            run("print('ran')")
        assert "\n" not in str(caught.value) and ran == []
    finally:
        sandbox.why_not.cache_clear()


def test_a_machine_whose_kernel_refuses_namespaces_is_named(monkeypatch: pytest.MonkeyPatch):
    sandbox.why_not.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: "/usr/bin/bwrap")
    refused = Outcome("failed", "bwrap: No permissions to create new namespace")
    monkeypatch.setattr(sandbox, "contained", lambda program, limits: refused)
    try:
        with pytest.raises(UserError, match=r"cannot make namespaces on this machine \(bwrap: No permissions"):
            run("print('ran')")
    finally:
        sandbox.why_not.cache_clear()
