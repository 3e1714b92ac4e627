"""Memory of large messages goes back to the system."""

import platform
import subprocess
import sys

import pytest

from osqueue_protocol.allocator import LOOKS_MAX, Trimmer

PROGRAM = """
import os
from osqueue_protocol.allocator import settle_allocator

def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

settle_allocator()
before = rss()
kept = []
for size in (1 << 20, 2 << 20):  # glibc maps the second by itself no longer once it has freed the first
    large = [b"x" * size + b"y" for _ in range(50)]
    kept.append(bytearray(100_000))  # a block behind them all
    del large
print(rss() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's way that is changed")
@pytest.mark.parametrize(("variables", "least", "most"), [({}, 0, 20)])
def test_what_large_messages_took_goes_back_though_small_ones_stay(variables, least, most):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=variables, timeout=60)
    assert done.returncode == 0, done.stderr
    assert least <= int(done.stdout) <= most


class Process:
    """What a process takes, and what trimming leaves of it."""

    def __init__(self) -> None:
        self.taken, self.left, self.trims = 100, 100, 0

    def trim(self) -> None:
        self.taken, self.trims = self.left, self.trims + 1


def looks(trimmer: Trimmer, process: Process, count: int) -> list[int]:
    """At which looks the process was trimmed."""
    trimmed = []
    for look in range(1, count + 1):
        before = process.trims
        trimmer.look()
        if process.trims > before:
            trimmed.append(look)
    return trimmed


def test_a_process_that_has_grown_is_trimmed_at_once():
    process = Process()
    trimmer = Trimmer(lambda: process.taken, process.trim)
    for taken, trims in ((110, 0), (111, 1), (100, 2)):  # it helped: the next look tries again
        process.taken = taken
        trimmer.look()
        assert process.trims == trims


def test_what_was_in_use_when_it_was_trimmed_is_given_back_later():
    process = Process()
    trimmer = Trimmer(lambda: process.taken, process.trim)
    process.taken = process.left = 300
    assert looks(trimmer, process, 30) == [1, 7, 13, 19, 25]
    process.left = 100
    assert looks(trimmer, process, 2) == [1, 2] and process.taken == 100


def test_a_process_that_stays_as_it_is_is_trimmed_once_a_minute():
    process = Process()
    trimmer = Trimmer(lambda: process.taken, process.trim)
    assert looks(trimmer, process, 20) == [LOOKS_MAX, 2 * LOOKS_MAX, 3 * LOOKS_MAX]
