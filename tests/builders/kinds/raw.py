"""Answers with what it got, as bytes."""

from __future__ import annotations

from typing import Any

from azureml_inference_server_http.api.aml_request import rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse


def init() -> None:
    pass


@rawhttp
def run(request: Any) -> Any:
    body = request.get_data()
    return AMLResponse(body[::-1], 200, {"Content-Type": f"application/x-got; was={request.content_type}"})
