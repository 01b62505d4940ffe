"""A Pulumi resource plugin that answers as azure-native 3.24.0 and translates to ARM calls against the local Azure.

It follows the real provider (github.com/pulumi/pulumi-azure-native) in what it refuses, what it leaves unknown in previews and what it
keeps in the state: a program that passes here for the plugin's kindness would fail on Azure. What it cannot know from the Python SDK
stands in `table.py`, one entry a type. The program's code never learns which of the two plugins serves it.
"""

from __future__ import annotations

VERSION = "3.24.0"
"""The version that the pinned SDK asks for. The plugin says at Configure that it is the local one."""
