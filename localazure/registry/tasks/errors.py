"""What this room refuses."""

from __future__ import annotations


class TaskError(Exception):
    """Answered by ARM as it is: HTTP status, code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def not_implemented(what: str) -> TaskError:
    return TaskError(501, "NotImplemented", f"The local Azure does not implement {what}.")


def invalid(problem: str) -> TaskError:
    return TaskError(400, "InvalidRequest", problem)
