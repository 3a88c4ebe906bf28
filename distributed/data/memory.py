"""How much memory this machine can still give."""

import os
from pathlib import Path

_LIMITS = (  # of a container: most, used
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available_memory() -> int:
    """Bytes that may be taken without swapping, within the limit of a container.

    Where the system does not tell what is free, half of what there is.
    """
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    for most, used in _LIMITS:
        limit = _number(Path(most))
        if limit is not None:
            free = min(free, max(0, limit - (_number(Path(used)) or 0)))
    return free


def _number(path: Path) -> int | None:
    """The number in a file; None if there is none, as in ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
