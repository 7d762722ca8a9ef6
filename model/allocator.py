"""Keeping freed memory for the next step, instead of handing it back to the system and asking for it again.

The one idea: training allocates and frees the same large tensors each step. The C library gives blocks of this size
back to the kernel at once, and the kernel zeroes new ones page by page: 150,000 page faults and 0.2 s in a step of
2.5 s for ten million parameters (docs/results/training-speed.md). On GPUs torch itself keeps memory; this is for the
CPU.

It takes a few steps until the heap has grown to where everything fits: glibc does not put an aligned block into the
hole that one of the same size has left, as long as there is no larger one.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # <malloc.h> of glibc; elsewhere nothing is done
LARGEST, DEFAULT = 2**31 - 1, 128 * 1024
TUNABLES = "GLIBC_TUNABLES"
HUGE_PAGES = "glibc.malloc.hugetlb=1"  # ask for them (madvise) where the kernel gives them to those who ask


def environment() -> dict[str, str]:
    """What a process that trains should be started with: its memory in pages of 2 MB instead of 4 kB.

    A first use is then one page fault for 512, and matrices need fewer entries of the processor's table of pages.
    Read by glibc from 2.35 on when the process starts; others ignore it. What is set already stays.
    """
    before = os.environ.get(TUNABLES, "")
    if "hugetlb" in before:
        return {}
    return {TUNABLES: ":".join(filter(None, [before, HUGE_PAGES]))}


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Within it, freed memory stays with the process; afterwards it goes back. Gives whether the C library can do it.

    The process then holds the most that it ever needed at once, and not more.
    """
    try:
        library = ctypes.CDLL(None)
        set_option, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        yield False
        return
    set_option(MMAP_THRESHOLD, 2**30)
    set_option(TRIM_THRESHOLD, LARGEST)
    try:
        yield True
    finally:
        set_option(MMAP_THRESHOLD, DEFAULT)
        set_option(TRIM_THRESHOLD, DEFAULT)
        trim(0)
