"""Role-based access control: roles, what a request needs, who has it."""

from localazure.arm.rbac.access import Access

__all__ = ["Access"]
