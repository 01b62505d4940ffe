"""ACR Tasks as far as quick builds go, and image imports: what a registry does by itself."""

from localazure.registry.tasks.service import TaskService

__all__ = ["TaskService"]
