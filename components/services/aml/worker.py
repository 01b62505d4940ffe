"""The worker process: one request on standard input, JSON lines on standard output.

    {"operation": "register_model", "arguments": {...}}
    {"progress": "..."}  any number
    {"result": ...}  or  {"error": {"kind": "NotFound" or "Failed", "doing", "resource", "answer", "advice"}}

azureml-core prints to standard output as it likes, so the protocol moves to a descriptor of its own first.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

from components.services.errors import NotFoundError, ServiceError


def main() -> None:
    protocol = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        protocol.write(json.dumps(message) + "\n")

    request = json.load(sys.stdin)
    try:
        send({"result": _run(request, lambda line: send({"progress": line}))})
    except ServiceError as error:
        send({"error": _describe(error)})
    except Exception as error:
        send({"error": _describe(_translate(request["operation"], error))})


def _run(request: dict[str, Any], progress: Any) -> Any:
    from azure.identity import DefaultAzureCredential
    from azureml.core import Workspace
    from azureml.core.authentication import TokenAuthentication

    from components.services.aml import operations

    credential = DefaultAzureCredential()

    def token(audience: str) -> str:
        return credential.get_token(audience.rstrip("/") + "/.default").token

    authentication = TokenAuthentication(token, cloud=os.environ.get("AZUREML_CURRENT_CLOUD"))
    workspace = Workspace.from_config(path="config.json", auth=authentication)
    return getattr(operations, request["operation"])(workspace, progress, **request["arguments"])


def _translate(operation: str, error: Exception) -> ServiceError:
    """azureml-core puts the service's status and body into one long text."""
    text = getattr(error, "message", None) or str(error)
    status = re.search(r"Response Code: (\d+)|\bstatusCode\W+(\d+)|\((\d{3})\)", text)
    code = next((group for group in status.groups() if group), "") if status else ""
    missing = code == "404" or "ModelNotFound" in text or "ImageNotFound" in text
    said = re.search(r"""["']message["']\s*:\s*["'](.*?)["']\s*[,}]""", text)
    first = (text.strip().splitlines() or [type(error).__name__])[0]
    answer = f"{code} {said.group(1)}".strip() if said else f"{type(error).__name__}: {first}"[:400]
    kind = NotFoundError if missing else ServiceError
    advice = ""
    if code in ("401", "403"):
        advice = "Check which identity you are logged in with and its role on the workspace (README, 'Permissions')."
    return kind(f"{operation.replace('_', ' ')} with azureml-core in", "the workspace", answer, advice)


def _describe(error: ServiceError) -> dict[str, str]:
    return {
        "kind": "NotFound" if isinstance(error, NotFoundError) else "Failed",
        "doing": error.doing,
        "resource": error.resource,
        "answer": error.answer,
        "advice": error.advice,
    }


if __name__ == "__main__":
    main()
