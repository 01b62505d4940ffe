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
    if status.get("fleet", {}).get("devices") or status.get("fleet", {}).get("size"):
        lines.append(f"  {fleet(status['fleet'])}")
    return "\n".join(lines)


def fleet(found: dict[str, Any]) -> str:
    """One line."""
    parts = [
        f"simulated fleet: {found['devices']} of at most {found['size']} devices",
        f"{found['connected']} connected",
    ]
    parts += (
        [f"{found['failing']} failing ({100 * found['fail']:g} % are told to)"]
        if found["failing"] or found["fail"]
        else []
    )
    parts += [f"ids like {found['match']}"] if found["match"] else []
    return ", ".join([*parts, f"{len(found['processes'])} processes"])


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
