"""Shared access signatures that ARM signs for a storage account: ListAccountSas, ListServiceSas (Azure REST API, storage 2024-01-01).

Strings to sign: learn.microsoft.com/rest/api/storageservices/create-account-sas and .../create-service-sas, version 2015-04-05, which
is the one that ARM's own examples show.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
from urllib.parse import quote

from localazure.arm.errors import ArmError
from localazure.arm.model import Answer, Call, Context
from localazure.arm.resources import Json, Resource

_VERSION = "2015-04-05"


async def account_sas(context: Context, resource: Resource, call: Call) -> Answer:
    """`{accountSasToken}`, the query of a URL."""
    body = call.body or {}
    fields = {
        "sv": _VERSION,
        "ss": _letters(body, "signedServices", "bqtf"),
        "srt": _letters(body, "signedResourceTypes", "sco"),
        "sp": _letters(body, "signedPermission", "rwdlacup"),
        "st": _time(body, "signedStart"),
        "se": _time(body, "signedExpiry", required=True),
        "sip": _text(body, "signedIp"),
        "spr": _text(body, "signedProtocol"),
    }
    order = (resource.name, *(fields[key] for key in ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv")), "")
    return Answer(200, {"accountSasToken": _token(context, resource, body, fields, "\n".join(order))})


async def service_sas(context: Context, resource: Resource, call: Call) -> Answer:
    """`{serviceSasToken}` for a blob or container, file or share."""
    body = call.body or {}
    path = _text(body, "canonicalizedResource", required=True)
    if not re.match(rf"/(blob|file|queue|table)/{re.escape(resource.name)}/.", path):
        raise _refused(f"canonicalizedResource '{path}' is not of the account '{resource.name}'")
    headers = {key: _text(body, key) for key in ("rscc", "rscd", "rsce", "rscl", "rsct")}
    fields = {
        "sv": _VERSION,
        "sr": _text(body, "signedResource"),
        "sp": _text(body, "signedPermission"),
        "st": _time(body, "signedStart"),
        "se": _time(body, "signedExpiry"),
        "sip": _text(body, "signedIp"),
        "spr": _text(body, "signedProtocol"),
        "si": _text(body, "signedIdentifier"),
        **headers,
    }
    order = (*(fields[key] for key in ("sp", "st", "se")), path, *(fields[key] for key in ("si", "sip", "spr", "sv")))
    signed = "\n".join((*order, *headers.values()))
    return Answer(200, {"serviceSasToken": _token(context, resource, body, fields, signed)})


def _token(context: Context, resource: Resource, body: Json, fields: dict[str, str], signed: str) -> str:
    keys, wanted = context.resources.secrets(resource), body.get("keyToSign") or "key1"
    if wanted not in keys:
        raise _refused(f"keyToSign '{wanted}' is not one of key1, key2")
    mac = hmac.new(base64.b64decode(keys[wanted]), signed.encode(), hashlib.sha256).digest()
    given = fields | {"sig": base64.b64encode(mac).decode()}
    return "&".join(f"{key}={quote(value, safe=',')}" for key, value in given.items() if value)


def _text(body: Json, name: str, *, required: bool = False) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value or "\n" in value:
        raise _refused(f"'{name}' is missing or not a text of one line")
    return value


def _letters(body: Json, name: str, known: str) -> str:
    value = _text(body, name, required=True)
    if not set(value) <= set(known):
        raise _refused(f"'{name}' is '{value}': letters of '{known}' are allowed")
    return value


def _time(body: Json, name: str, *, required: bool = False) -> str:
    value = _text(body, name, required=required)
    try:
        moment = datetime.datetime.fromisoformat(value) if value else None
    except ValueError as error:
        raise _refused(f"'{name}' is '{value}': not a time of ISO 8601") from error
    if moment is None:
        return ""
    return (
        moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if moment.tzinfo
        else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    )


def _refused(problem: str) -> ArmError:
    return ArmError(400, "InvalidValuesForRequestParameters", f"Values for request parameters are invalid: {problem}.")
