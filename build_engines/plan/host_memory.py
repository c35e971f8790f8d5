"""How much memory this machine has to spare."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int:
    """Memory that can be taken without swapping, in bytes, as Linux estimates it."""
    for line in MEMINFO.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError(f"{MEMINFO} has no MemAvailable")
