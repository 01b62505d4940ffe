"""The texts are azureml-core 1.60's own, as `models_client`, `image` and `_project/_commands` make them."""

from __future__ import annotations

import pytest

from components.services.aml.failures import translate
from components.services.errors import NotFoundError, ServiceError

MODEL = {"model_id": "best:1"}
BAD = (
    "Received bad response from Model Management Service:\nResponse Code: {code}\n"
    "Headers: {{'Content-Length': '120'}}\n"
    'Content: b\'{{"code": "{name}", "statusCode": {code}, "message": "it\\\'s {name}", "details": []}}\''
)


def bad(code: int, name: str) -> Exception:
    return RuntimeError(BAD.format(code=code, name=name))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("ModelNotFound: Model with id best:1 not found in provided workspace"),
        RuntimeError("Workspace not found."),
        bad(404, "ModelNotFound"),
        bad(404, "Gone"),
    ],
)
def test_gone_is_what_the_service_says_of_the_thing_or_its_workspace(error: Exception) -> None:
    found = translate("get_model", MODEL, "ml", error)
    assert isinstance(found, NotFoundError)
    assert str(found).startswith("could not read the model best:1 in the workspace ml: ")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("get_model", RuntimeError("HTTPSConnectionPool(host='x'): 404 Client Error: Not Found for url: discovery")),
        ("get_model", RuntimeError("the blob answered (404)")),
        ("get_model", bad(403, "Forbidden")),
        ("get_model", bad(500, "Oops")),
        ("get_model", ConnectionError("[Errno 111] Connection refused")),
        ("create_image", bad(404, "ModelNotFound")),
        ("something_new", bad(404, "ThingNotFound")),
    ],
)
def test_nothing_else_is(operation: str, error: Exception) -> None:
    assert type(translate(operation, MODEL, "ml", error)) is ServiceError


def test_the_services_own_words_and_status_come_through() -> None:
    found = translate("delete_image", {"image_id": "anomaly:3"}, "ml", bad(403, "Forbidden"))
    assert str(found).startswith("could not delete the image anomaly:3 in the workspace ml: 403 it's Forbidden")
    assert "role on the workspace" in found.advice


@pytest.mark.parametrize(
    "content", ["b'<html>'", "[<azureml._restclient.models.error_details.ErrorDetails object at 0x7f>]"]
)
def test_a_body_that_says_nothing_leaves_what_the_status_means(content: str) -> None:
    """The second one is what azureml-core itself makes of its errors' details."""
    text = (
        f"Received bad response from Model Management Service:\nResponse Code: 502\nHeaders: {{}}\nContent: {content}"
    )
    found = translate("get_model", MODEL, "ml", RuntimeError(text))
    assert found.answer == "502 Bad Gateway"
    assert "busy" in found.advice


def test_an_exception_without_a_text_is_named() -> None:
    assert translate("get_model", MODEL, "ml", ValueError()).answer == "ValueError"
