"""CPU time and memory of processes together with their children."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import psutil


class Tree:
    """A process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu(self) -> dict[int, float]:
        """Seconds of CPU time so far, user and system, by process."""
        return dict(self._each(_cpu_seconds))

    def memory(self) -> float:
        """Resident bytes (RSS).

        To be read as growth: what processes share is counted twice, but does not move. (USS does: the first
        full garbage collection of a forked worker copies the pages that it shared with its parent.)
        """
        return sum(size for _, size in self._each(_resident_bytes))

    def _each(self, figure: Callable[[psutil.Process], float]) -> Iterator[tuple[int, float]]:
        for process in [self._root, *self._root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # a short-lived child
                yield process.pid, figure(process)


def _cpu_seconds(process: psutil.Process) -> float:
    """By the process's CPU clock where there is one, to the nanosecond: `cpu_times` has steps of 10 ms."""
    if psutil.LINUX:
        try:
            # <linux/posix-timers.h>: CPUCLOCK_SCHED of a process is its inverted id, shifted, and 2.
            return time.clock_gettime(((~process.pid) << 3) | 2)
        except OSError:
            raise psutil.NoSuchProcess(process.pid) from None
    times = process.cpu_times()
    return times.user + times.system


def _resident_bytes(process: psutil.Process) -> float:
    return process.memory_info().rss


class Meter:
    """The CPU time that named trees spend from here to `read`."""

    def __init__(self, trees: Mapping[str, Tree]) -> None:
        self._trees = trees
        self._before = self._now()

    def _now(self) -> dict[str, dict[int, float]]:
        return {name: tree.cpu() for name, tree in self._trees.items()}

    def read(self) -> dict[str, float]:
        """Seconds by name; a child that came since counts from its start."""
        now = self._now()
        return {
            name: sum(seconds - self._before[name].get(pid, 0.0) for pid, seconds in cpu.items())
            for name, cpu in now.items()
        }
