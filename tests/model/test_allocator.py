"""Freed memory stays with the process while that is wanted, and comes in large pages. Each asks a fresh process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from model import allocator

ROOT = Path(__file__).parents[2]
COUNTING = """
import resource
import torch
from model.allocator import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16_000_000)  # 64 MB, above the largest threshold that glibc sets of itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
with kept_memory():
    for _ in range(3):
        faults()
    within = faults()
print(plain, within, faults())
"""
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")


def page_faults(environment: dict[str, str]) -> list[int]:
    """Page faults before, within and after `kept_memory`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "THP_"))}
    command = [sys.executable, "-c", COUNTING]
    said = subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=True).stdout
    return [int(number) for number in said.split()]


def test_freed_memory_is_used_again_within_and_given_back_after():
    plain, within, after = page_faults({})
    assert within < 200 and min(plain, after) > 10_000


def test_memory_comes_in_large_pages_where_the_kernel_gives_them(monkeypatch):
    place = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    version = tuple(int(part) for part in platform.libc_ver()[1].split("."))
    if not place.exists() or "[never]" in place.read_text() or "[always]" in place.read_text() or version < (2, 35):
        pytest.skip("this kernel gives large pages to nobody or to everybody, or this glibc cannot ask for them")
    monkeypatch.delenv(allocator.TUNABLES, raising=False)
    plain, *_ = page_faults(allocator.environment())
    assert plain < 10_000


def test_what_was_set_by_hand_stays(monkeypatch):
    monkeypatch.setenv(allocator.TUNABLES, "glibc.malloc.tcache_count=3")
    assert allocator.environment() == {allocator.TUNABLES: f"glibc.malloc.tcache_count=3:{allocator.HUGE_PAGES}"}
    monkeypatch.setenv(allocator.TUNABLES, "glibc.malloc.hugetlb=0")
    assert allocator.environment() == {}
