"""What ARM answers about itself: tenants, subscriptions, regions, providers, and resources of every type in one list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

from localazure.arm.engine import GROUP, Engine
from localazure.arm.errors import ArmError, not_implemented
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call
from localazure.arm.regions import REGIONS
from localazure.arm.resources import Json

_SHOWN = ("id", "name", "type", "location", "tags", "kind", "sku", "identity", "managedBy", "systemData")
_TERM = re.compile(r"\s*(resourceType|name|location|resourceGroup|tagName|tagValue)\s+eq\s+'((?:[^']|'')*)'\s*", re.I)


class Directory:
    """Listings outside a single resource type; `answer` is None for a path that is none of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._instance = engine, engine.context.instance

    def answer(self, call: Call) -> Answer | None:
        steps = call.target.key.strip("/").split("/")
        if steps == ["tenants"]:
            return self._get(call, self._tenants)
        if steps == ["subscriptions"]:
            return self._get(call, lambda: {"value": [self._subscription()], "count": {"type": "Total", "value": 1}})
        if steps[0] != "subscriptions" or len(steps) < 2:
            return None
        if len(steps) == 2:
            return self._get(call, self._subscription)
        return self._in_subscription(call, steps[2:])

    def _in_subscription(self, call: Call, steps: list[str]) -> Answer | None:
        match steps:
            case ["locations"]:
                return self._get(call, self._locations)
            case ["resourcegroups"]:
                return self._get(call, lambda: page(call, self._groups(), self._instance.arm_url))
            case ["resources"] | ["resourcegroups", _, "resources"]:
                return self._get(call, lambda: page(call, self._resources(call), self._instance.arm_url))
            case ["providers"]:
                return self._get(call, lambda: {"value": [self._provider(call, name) for name in self._namespaces()]})
            case ["providers", namespace]:
                return self._get(call, lambda: self._provider(call, namespace))
            case ["providers", namespace, "register"] if call.method == "POST":
                return Answer(200, self._provider(call, namespace))
        return None

    def _get(self, call: Call, make: Callable[[], Json]) -> Answer:
        if call.method != "GET":
            raise ArmError(
                405, "MethodNotAllowed", f"The requested resource does not support http method '{call.method}'."
            )
        return Answer(200, make())

    def _tenants(self) -> Json:
        tenant = self._instance.tenant_id
        return {
            "value": [
                {
                    "id": f"/tenants/{tenant}",
                    "tenantId": tenant,
                    "displayName": "Local Azure",
                    "tenantCategory": "Home",
                    "domains": [],
                }
            ]
        }

    def _subscription(self) -> Json:
        subscription = self._instance.subscription_id
        return {
            "id": f"/subscriptions/{subscription}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": subscription,
            "tenantId": self._instance.tenant_id,
            "displayName": "Local Azure",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def _locations(self) -> Json:
        base = f"/subscriptions/{self._instance.subscription_id}/locations"
        return {
            "value": [
                {
                    "id": f"{base}/{name}",
                    "name": name,
                    "type": "Region",
                    "displayName": shown,
                    "regionalDisplayName": shown,
                    "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
                }
                for name, shown in REGIONS.items()
            ]
        }

    def _groups(self) -> list[Json]:
        scope = f"/subscriptions/{self._instance.subscription_id}"
        return [self._engine.present(group) for group in self._engine.resources.below(scope, GROUP)]

    def _resources(self, call: Call) -> list[Json]:
        scope = call.target.path.rpartition("/")[0]
        self._engine.require_scope(parse(f"{scope}/resources"))
        wanted = _filter(call.query.get("$filter", ""))
        found = [
            resource
            for resource in self._engine.resources.below(scope)
            if resource.type != GROUP and "location" in self._engine.types[resource.type.casefold()].top
        ]
        bodies = [self._engine.present(resource) for resource in found]
        return [{key: body[key] for key in _SHOWN if key in body} for body in bodies if _matches(body, wanted)]

    def _namespaces(self) -> Iterable[str]:
        return sorted({kind.type.split("/")[0] for kind in self._engine.types.values()})

    def _provider(self, call: Call, namespace: str) -> Json:
        kinds = [
            kind for kind in self._engine.types.values() if kind.type.split("/")[0].casefold() == namespace.casefold()
        ]
        if not kinds:
            raise not_implemented(call.method, call.target.path)
        name = kinds[0].type.split("/")[0]
        return {
            "id": f"/subscriptions/{self._instance.subscription_id}/providers/{name}",
            "namespace": name,
            "registrationPolicy": "RegistrationRequired",
            "registrationState": "Registered",
            "resourceTypes": [
                {
                    "resourceType": kind.type.partition("/")[2],
                    "locations": list(REGIONS.values()),
                    "apiVersions": list(kind.api_versions),
                    "capabilities": "SupportsTags, SupportsLocation" if "location" in kind.top else "None",
                }
                for kind in kinds
            ],
        }


def page(call: Call, values: list[Json], base: str) -> Json:
    """`{value, nextLink?}`: `$top` cuts, `$skiptoken` continues."""
    start = _number(call, "$skiptoken", 0)
    count = _number(call, "$top", len(values) or 1)
    body: Json = {"value": values[start : start + count]}
    if start + count < len(values):
        query = dict(call.query) | {"$skiptoken": str(start + count)}
        body["nextLink"] = f"{base}{call.target.path}?{urlencode(query, safe='$')}"
    return body


def _number(call: Call, name: str, default: int) -> int:
    given = call.query.get(name, "")
    if not given:
        return default
    if not given.isdecimal() or (name == "$top" and int(given) < 1):
        raise ArmError(400, "InvalidQueryParameter", f"The value '{given}' of query parameter '{name}' is not valid.")
    return int(given)


def _filter(text: str) -> dict[str, str]:
    """`resourceType eq 'a/b' and name eq 'c'`; other operators are refused rather than ignored."""
    if not text.strip():
        return {}
    terms = [_TERM.fullmatch(part) for part in re.split(r"\s+and\s+", text, flags=re.I)]
    if not all(terms):
        raise ArmError(400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string.")
    return {term[1].casefold(): term[2].replace("''", "'").casefold() for term in terms if term}


def _matches(body: Json, wanted: dict[str, str]) -> bool:
    tags = {key.casefold(): value.casefold() for key, value in body.get("tags", {}).items()}
    held = {
        "resourcetype": body["type"].casefold(),
        "name": body["name"].casefold(),
        "location": body.get("location", ""),
        "resourcegroup": (parse(body["id"]).group or "").casefold(),
    }
    if "tagname" in wanted and wanted["tagname"] not in tags:
        return False
    if "tagvalue" in wanted and tags.get(wanted.get("tagname", "")) != wanted["tagvalue"]:
        return False
    return all(held[key] == value for key, value in wanted.items() if key in held)
