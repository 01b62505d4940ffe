"""The tables of this room. Bodies are the JSON that the service answers; columns are what it searches by."""

from __future__ import annotations

import datetime

SCHEMA = """
CREATE TABLE IF NOT EXISTS ml_artifacts (
    workspace TEXT NOT NULL, id TEXT NOT NULL, created TEXT NOT NULL, PRIMARY KEY (workspace, id));
CREATE TABLE IF NOT EXISTS ml_assets (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, workspace TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (workspace, id));
CREATE TABLE IF NOT EXISTS ml_models (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, workspace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
    modified REAL NOT NULL, body TEXT NOT NULL, UNIQUE (workspace, name, version));
CREATE TABLE IF NOT EXISTS ml_images (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, workspace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
    modified REAL NOT NULL, body TEXT NOT NULL, UNIQUE (workspace, name, version));
CREATE TABLE IF NOT EXISTS ml_operations (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, arm_id TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    image TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ml_packages (
    operation TEXT PRIMARY KEY, workspace TEXT NOT NULL, request TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ml_versions (
    workspace TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (workspace, kind, name));
"""


def timestamp() -> str:
    """Now, in the form of the service: seven digits after the point, UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
