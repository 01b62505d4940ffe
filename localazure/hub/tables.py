"""The hub room's tables. `module_id` is '' for a device itself, so that it can be part of a key.

An assignment belongs to `$edgeAgent`: `configurations` is what its twin shows, `signature` names the deployments whose content is applied.
"""

from __future__ import annotations

import datetime

NEVER = "0001-01-01T00:00:00Z"

SCHEMA = """
CREATE TABLE IF NOT EXISTS hub_hubs (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    port INTEGER NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS hub_plans (
    hub TEXT PRIMARY KEY COLLATE NOCASE REFERENCES hub_hubs(name) ON DELETE CASCADE,
    sku TEXT NOT NULL,
    units INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS hub_policies (
    hub TEXT NOT NULL COLLATE NOCASE REFERENCES hub_hubs(name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    primary_key TEXT NOT NULL,
    secondary_key TEXT NOT NULL,
    rights TEXT NOT NULL,
    PRIMARY KEY (hub, name)
);
CREATE TABLE IF NOT EXISTS hub_identities (
    hub TEXT NOT NULL COLLATE NOCASE REFERENCES hub_hubs(name) ON DELETE CASCADE,
    device_id TEXT NOT NULL,
    module_id TEXT NOT NULL,
    document TEXT NOT NULL,
    connection_updated TEXT NOT NULL,
    last_activity TEXT NOT NULL,
    subscriptions TEXT,
    PRIMARY KEY (hub, device_id, module_id)
);
CREATE TABLE IF NOT EXISTS hub_twins (
    hub TEXT NOT NULL COLLATE NOCASE,
    device_id TEXT NOT NULL,
    module_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (hub, device_id, module_id),
    FOREIGN KEY (hub, device_id, module_id) REFERENCES hub_identities(hub, device_id, module_id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS hub_configurations (
    hub TEXT NOT NULL COLLATE NOCASE REFERENCES hub_hubs(name) ON DELETE CASCADE,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (hub, id)
);
CREATE TABLE IF NOT EXISTS hub_assignments (
    hub TEXT NOT NULL COLLATE NOCASE,
    device_id TEXT NOT NULL,
    module_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    configurations TEXT NOT NULL,
    PRIMARY KEY (hub, device_id, module_id),
    FOREIGN KEY (hub, device_id, module_id) REFERENCES hub_identities(hub, device_id, module_id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS hub_messages (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    hub TEXT NOT NULL COLLATE NOCASE REFERENCES hub_hubs(name) ON DELETE CASCADE,
    document TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS hub_messages_by_hub ON hub_messages (hub, sequence);
"""


def now() -> str:
    """UTC with microseconds and a Z, as the service writes times."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
