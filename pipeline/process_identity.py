"""Which process it is: its number is given out again, and its start by the clock moves when the clock is set.

The kernel counts a process's start in ticks since the machine started, which no change of the clock moves.
"""

from __future__ import annotations

from pathlib import Path

START = 19  # place of the start in /proc/<pid>/stat, counted behind the name in parentheses


def identity(pid: int) -> str:
    """What tells this process from all others, before and after it, on this machine.

    "" if it is gone or a zombie, and where there is no /proc.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot[:13]}-{fields[START]}"


def is_still(pid: int, noted: str) -> bool:
    """Whether the process of this number is the one whose identity was noted, and runs."""
    now = identity(pid)
    return now == noted != ""
