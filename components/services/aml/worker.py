"""The worker process: JSON lines on standard input and output.

    in   {"operation": "register_model", "arguments": {...}}
    out  {"progress": "..."}  any number
    out  {"token": "https://management.azure.com/"}  any number, each answered by
    in       {"token": "..."}  or  {"error": {...}}
    out  {"result": ...}  or  {"error": {"kind": "NotFound" or "Failed", "doing", "resource", "answer", "advice"}}

Tokens come from the one credential of the process that started this one. azureml-core prints to standard output as it likes, so
the protocol moves to a descriptor of its own first.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from components.services.aml import failures
from components.services.errors import NotFoundError, ServiceError

CONFIG = Path("..", "config.json")


class Parent:
    """The process that started this one."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        self._lock = threading.Lock()  # azureml-core may ask for tokens from several threads
        self.refused: ServiceError | None = None
        """Why the last token was not given: azureml-core wraps that into errors that no longer say it."""
        os.dup2(2, 1)

    def send(self, message: dict[str, Any]) -> None:
        self._out.write(json.dumps(message) + "\n")

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(sys.stdin.readline())
        return message

    def token(self, audience: str) -> str:
        with self._lock:
            self.send({"token": audience})
            answer = self.receive()
        if "error" in answer:
            self.refused = error_of(answer["error"])
            raise self.refused
        return str(answer["token"])


def main() -> None:
    parent = Parent()
    request = parent.receive()
    try:
        parent.send({"result": _run(parent, request)})
    except ServiceError as error:
        parent.send({"error": described(error)})
    except Exception as error:
        arguments, workspace = request["arguments"], _config()["workspace_name"]
        failure = parent.refused or failures.translate(request["operation"], arguments, workspace, error)
        parent.send({"error": described(failure)})


def _run(parent: Parent, request: dict[str, Any]) -> Any:
    from azureml.core import Workspace
    from azureml.core.authentication import TokenAuthentication

    from components.services.aml import operations

    authentication = TokenAuthentication(parent.token, cloud=os.environ.get("AZUREML_CURRENT_CLOUD"))
    workspace = Workspace.from_config(path=str(CONFIG), auth=authentication)
    operation = getattr(operations, request["operation"])
    return operation(workspace, lambda line: parent.send({"progress": line}), **request["arguments"])


def _config() -> dict[str, str]:
    config: dict[str, str] = json.loads(CONFIG.read_text())
    return config


def described(error: ServiceError) -> dict[str, str]:
    """The error as JSON; `error_of` makes it again."""
    return {
        "kind": "NotFound" if isinstance(error, NotFoundError) else "Failed",
        "doing": error.doing,
        "resource": error.resource,
        "answer": error.answer,
        "advice": error.advice,
    }


def error_of(description: dict[str, str]) -> ServiceError:
    kind = NotFoundError if description["kind"] == "NotFound" else ServiceError
    return kind(description["doing"], description["resource"], description["answer"], description["advice"])


if __name__ == "__main__":
    main()
