"""What processes take is counted over a whole tree, and sampled while something runs."""

import os
import subprocess
import sys
import time

from benchmarks.memory import Sampler, pss_mb, tree_of

HOLD = "held = bytearray(60_000_000); print('ready', flush=True); input()"


def test_counts_the_whole_tree_and_nothing_of_who_has_gone():
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.pid in tree_of(os.getpid())
        assert 60 < pss_mb([process.pid]) < 120
        process.communicate(b"\n")
    assert pss_mb([process.pid]) == 0
    assert tree_of(process.pid) == []


def test_samples_while_its_block_runs():
    figures = iter(range(1, 1000))
    with Sampler(lambda: float(next(figures)), interval_seconds=0.01) as sampler:
        time.sleep(0.2)
    taken = len(sampler.values)
    assert sampler.peak == taken > 3
    time.sleep(0.05)
    assert len(sampler.values) == taken
