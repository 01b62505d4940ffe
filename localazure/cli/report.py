"""The daemon's status in words. Pure."""

from __future__ import annotations

from typing import Any


def running(status: dict[str, Any]) -> str:
    """Several lines."""
    lines = [
        f"local Azure at {status['arm']}, process {status['pid']}, since {status['startedAt']}",
        f"  folder: {status['folder']}",
    ]
    for kind in ("registries", "hubs", "devices"):
        found = status.get(kind) or []
        lines.append(f"  {kind}: {len(found) or 'none'}")
        lines += [f"    {_entry(entry)}" for entry in found]
    return "\n".join(lines)


def stopped(status: dict[str, Any]) -> str:
    """One line; `status` is the last one, {} when the daemon did not answer any more."""
    counts = [
        f"{len(found)} {plural if len(found) != 1 else singular}"
        for kind, singular, plural in (
            ("registries", "registry", "registries"),
            ("hubs", "hub", "hubs"),
            ("devices", "device", "devices"),
        )
        if (found := status.get(kind))
    ]
    what = f" with {', '.join(counts)}" if counts else ""
    return f"stopped the local Azure{what}; its state stays, 'up' continues from it"


def _entry(entry: dict[str, Any]) -> str:
    name, *rest = (f"{value}" if key == "name" else f"{key}={value}" for key, value in entry.items())
    return "  ".join([name, *rest])
