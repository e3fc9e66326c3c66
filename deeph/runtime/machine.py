"""What this process may use of the machine: cores and memory, with the limits of batch systems and containers."""

import os
from pathlib import Path

CGROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
GIB = 1 << 30


def allowed_cores() -> tuple[int, str]:
    """How many cores this process may use, and what limits them: a part of one counts as one."""
    everything = os.cpu_count() or 1
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else everything
    limit = f"of {everything}; bound to them (affinity)" if here < everything else f"of {everything}"
    quota = _quota()
    if quota is not None and quota < here:
        return max(1, int(quota)), f"of {everything}; quota of {quota:g} (cgroup)"
    return here, limit


def free_memory() -> tuple[float, str]:
    """Memory in GiB that this process can get without swapping, and what limits it."""
    total, free = _memory_of_the_machine()
    limit = f"of {total:.1f} GiB"
    for maximum, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        most, now = _numbers(maximum), _numbers(used)
        if most and now and (most[0] - now[0]) / GIB < free:
            free, limit = (most[0] - now[0]) / GIB, f"of the {most[0] / GIB:.1f} GiB this job may use (cgroup)"
    return max(0.0, free), limit


def processor() -> str:
    """Name of the processor, as the system gives it."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_of_the_machine() -> tuple[float, float]:
    """All of it and what is free, GiB."""
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        total, free = (int(rows[name].split()[0]) * 1024 / GIB for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):  # not Linux: what is free is not told
        total = free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB if hasattr(os, "sysconf") else 0.0
    return total, free


def _quota() -> float | None:
    """Cores' worth of time that a cgroup grants; None without a limit."""
    if (v2 := _numbers("cpu.max")) and len(v2) == 2:
        return v2[0] / v2[1]
    quota, period = _numbers("cpu/cpu.cfs_quota_us"), _numbers("cpu/cpu.cfs_period_us")
    return quota[0] / period[0] if quota and period and quota[0] > 0 else None


def _numbers(name: str) -> list[float]:
    """The numbers of the innermost file of this name above this process's control group; none where it is absent or says ``max``."""
    room, _, file = name.rpartition("/")
    try:
        own = [line.split(":", 2) for line in OWN.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []
    inside = next((path for _, kinds, path in own if (room in kinds.split(",") if room else not kinds)), "/").strip("/")
    for folder in [Path(inside), *Path(inside).parents]:
        try:
            return [float(word) for word in (CGROUPS / room / folder / file).read_text(encoding="utf-8").split()]
        except (OSError, ValueError):
            continue
    return []
