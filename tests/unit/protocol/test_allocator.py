"""Memory of large messages goes back to the system."""

import platform
import subprocess
import sys

import pytest

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
