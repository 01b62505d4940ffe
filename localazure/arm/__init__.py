"""Azure Resource Manager: an engine for all resource types, one small file for each resource provider in `providers/`."""

from __future__ import annotations

from localazure.arm.service import ArmService

__all__ = ["ArmService"]
