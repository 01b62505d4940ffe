"""`PUT .../vaults/{vault}/accessPolicies/{add | replace | remove}`: the policies of a vault one by one (keyvault 2024-11-01)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError, invalid_content
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call
from localazure.arm.resources import Json

_KIND = "Microsoft.KeyVault/vaults/accessPolicies"
_Key = tuple[str, str]


class AccessPolicies:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def change(self, call: Call) -> Answer:
        word = call.target.name.casefold()
        if word not in ("add", "replace", "remove"):
            raise ArmError(400, "BadRequest", f"'{call.target.name}' is not one of add, replace, remove.")
        vault = parse(call.target.path.rsplit("/", 2)[0])
        held = self._engine.require(call, vault).properties.get("accessPolicies", [])
        policies = _changed(held, _given(call.body), word)
        body = {"properties": {"accessPolicies": policies}}
        changed = await self._engine.patch(replace(call, method="PATCH", target=vault, body=body))
        shown = {"id": f"{changed.body['id']}/accessPolicies/", "type": _KIND}
        return Answer(200, shown | {"properties": {"accessPolicies": changed.body["properties"]["accessPolicies"]}})


def _given(body: Json | None) -> list[Json]:
    properties = (body or {}).get("properties")
    policies = properties.get("accessPolicies") if isinstance(properties, dict) else None
    if not isinstance(policies, list) or not all(isinstance(one, dict) for one in policies):
        raise invalid_content("Required property 'properties.accessPolicies' not found")
    for one in policies:
        permissions = one.get("permissions")
        if not isinstance(permissions, dict) or not all(_is_words(words) for words in permissions.values()):
            raise invalid_content("Required property 'permissions' not found in an access policy")
    return policies


def _changed(held: list[Json], given: list[Json], word: str) -> list[Json]:
    """What a principal may do is one entry; `add` and `remove` work on its words."""
    result: dict[_Key, Json] = {_key(one): one for one in held}
    for one in given:
        key = _key(one)
        before = {kind: words or [] for kind, words in result.get(key, {}).get("permissions", {}).items()}
        permissions = one["permissions"]
        if word != "replace":
            kinds = list(dict.fromkeys([*before, *permissions]))
            permissions = {kind: _words(before.get(kind, []), permissions.get(kind, []), word) for kind in kinds}
        if word == "remove" and not any(permissions.values()):
            result.pop(key, None)
        elif word != "remove" or key in result:
            result[key] = one | {"permissions": permissions}
    return list(result.values())


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _words(before: list[Any], given: list[Any], word: str) -> list[Any]:
    if word == "add":
        return list(dict.fromkeys([*before, *given]))
    return [one for one in before if one not in given]


def _key(policy: Json) -> _Key:
    return (str(policy.get("objectId")).casefold(), str(policy.get("applicationId", "")).casefold())
