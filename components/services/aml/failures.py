"""What azureml-core raised, in our words. Its exceptions hold the service's status and body in one long text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from components.services.errors import NotFoundError, ServiceError

# Operation -> what is being done, and the argument that names the thing.
_WORDS = {
    "register_model": ("register the model", "model_name"),
    "find_model": ("find the model", "model_name"),
    "get_model": ("read the model", "model_id"),
    "update_model": ("update the model", "model_id"),
    "delete_models": ("delete the models", "model_ids"),
    "start_package": ("package the models as", "name"),
    "follow_package": ("package the models as", "name"),
    "create_image": ("build the image", "name"),
    "image_state": ("read the image", "image_id"),
    "delete_image": ("delete the image", "image_id"),
}
_BUILDS = ("create_image", "start_package", "follow_package")
_STATUS = re.compile(r"Response Code: (\d+)|\bstatusCode\W+(\d+)|Status code: (\d+)")
_CODE = re.compile(r"\b(ModelNotFound|ImageNotFound)\b")
_NO_WORKSPACE = "Workspace not found."  # azureml-core says this for ARM's 404, and for nothing else
_ANSWER_CHARACTERS = 500
_PHRASES = {str(int(one)): one.phrase for one in HTTPStatus}


def translate(operation: str, arguments: Mapping[str, Any], workspace: str, error: Exception) -> ServiceError:
    """NotFoundError only where Azure ML answered that the very model, image or workspace does not exist."""
    doing, key = _WORDS.get(operation, (operation.replace("_", " ").replace("create", "make"), "name"))
    named = arguments.get(key, "")
    resource = f"{', '.join(named) if isinstance(named, list) else named} in the workspace {workspace}".strip()
    text = str(getattr(error, "message", None) or error)
    status = next((group for match in [_STATUS.search(text)] if match for group in match.groups() if group), "")
    if _NO_WORKSPACE in text:
        return NotFoundError(doing, resource, f"404 the workspace {workspace} does not exist")
    answer = f"{status} {_said(text, status) or type(error).__name__}".strip()[:_ANSWER_CHARACTERS]
    if _is_missing(operation, status, text):
        return NotFoundError(doing, resource, answer)
    return ServiceError(doing, resource, answer, _advice(status))


def _is_missing(operation: str, status: str, text: str) -> bool:
    if operation in _BUILDS or operation not in _WORDS:  # a model or an upload that is missing is not the image
        return False
    return bool(_CODE.search(text)) or (status == "404" and "Model Management Service" in text)


def _said(text: str, status: str) -> str:
    """The service's own message where there is one, else the text's first line or what the status means."""
    content = re.search(r"Content: (b?['\"].*)", text, re.DOTALL)
    if content:
        try:
            body = json.loads(ast.literal_eval(content.group(1).strip()))
            return str(body.get("message") or body["error"]["message"])
        except (ValueError, SyntaxError, KeyError, TypeError, AttributeError):
            pass
    if quoted := re.search(r"""["']message["']\s*:\s*["'](.*?)["']\s*[,}]""", text):
        return quoted.group(1)
    if text.startswith("Received bad response") and status in _PHRASES:
        return _PHRASES[status]
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _advice(status: str) -> str:
    if status in ("401", "403"):
        return "Check which identity you are logged in with and its role on the workspace (README, 'Permissions')."
    if status == "429" or status.startswith("5"):
        return "Azure ML is busy; wait a minute, then run the command again."
    return ""
