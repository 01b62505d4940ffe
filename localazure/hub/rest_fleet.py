"""The REST operations on many devices: configurations, queries, the bulk registry."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from localazure.hub import bulk
from localazure.hub.configurations import check_metric, check_target
from localazure.hub.errors import HubError, invalid
from localazure.hub.queries import PAGE
from localazure.hub.rest_call import Call, tagged

_MAX_QUERY = 64 * 1024


async def apply_content(call: Call) -> Response:
    call.who.need("RegistryWrite")
    call.hub.apply(call.key.device_id, await call.body())
    return Response(status_code=204)


async def list_configurations(call: Call) -> Response:
    call.who.need("RegistryRead")
    return JSONResponse(await call.hub.measured(call.hub.configurations.all(call.top)))


async def get_configuration(call: Call) -> Response:
    call.who.need("RegistryRead")
    [document] = await call.hub.measured([call.hub.configurations.get(call.name)])
    return tagged(document)


async def put_configuration(call: Call) -> Response:
    call.who.need("RegistryWrite")
    document, created = call.hub.put_configuration(call.name, await call.body(), call.if_match)
    return tagged(document, 201 if created else 200)


async def delete_configuration(call: Call) -> Response:
    call.who.need("RegistryWrite")
    call.hub.delete_configuration(call.name, call.if_match)
    return Response(status_code=204)


async def check_queries(call: Call) -> Response:
    """Answers 200 with an error for each text that is wrong. Unlike the service, which lets IN in a target condition pass here and refuses
    it later (Azure/azure-iot-cli-extension#490), it says so at once."""
    call.who.need("RegistryRead")
    body = await call.body()
    target, metrics = body.get("targetCondition") or "", body.get("customMetricQueries") or {}
    if not isinstance(target, str) or not isinstance(metrics, dict):
        raise invalid("targetCondition is not a string, or customMetricQueries is not an object")
    errors = {name: text for name, query in metrics.items() if (text := _error(check_metric, query))}
    return JSONResponse({"targetConditionError": _error(check_target, target), "customMetricQueryErrors": errors})


async def query(call: Call) -> Response:
    call.who.need("ServiceConnect")
    text = (await call.body()).get("query")
    if not isinstance(text, str) or not text or len(text) > _MAX_QUERY:
        raise invalid(f"query is missing or longer than {_MAX_QUERY} characters")
    headers = call.request.headers
    page = await call.hub.queries.page(
        text, headers.get("x-ms-continuation"), _size(headers.get("x-ms-max-item-count"))
    )
    answer = {"x-ms-item-type": page.kind}
    if page.continuation:
        answer["x-ms-continuation"] = page.continuation
    return JSONResponse(page.items, headers=answer)


async def bulk_registry(call: Call) -> Response:
    call.who.need("RegistryWrite")
    result = bulk.run(call.hub, await call.document())
    return JSONResponse(result, 200 if result["isSuccessful"] else 400)


def _size(text: str | None) -> int:
    """Items on a page: as asked for, up to 100."""
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise invalid("x-ms-max-item-count is not a whole number above 0")
    return min(int(text[:9]), PAGE)


def _error(check: Any, text: Any) -> str | None:
    try:
        check(text)
    except HubError as error:
        return str(error)
    return None
