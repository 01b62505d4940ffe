"""What ARM answers about itself: tenants, subscriptions, regions, providers, and resources of every type in one list."""

from __future__ import annotations

import re

from localazure.arm.engine import GROUP, Engine
from localazure.arm.errors import ArmError, not_implemented
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call
from localazure.arm.pages import page
from localazure.arm.regions import REGIONS
from localazure.arm.resources import Json

_SHOWN = ("id", "name", "type", "location", "tags", "kind", "sku", "identity", "managedBy", "systemData")
_TERM = re.compile(r"\s*(resourceType|name|location|resourceGroup|tagName|tagValue)\s+eq\s+'((?:[^']|'')*)'\s*", re.I)


class Directory:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._instance = engine, engine.context.instance

    async def tenants(self, call: Call) -> Answer:
        tenant = self._instance.tenant_id
        shown = {
            "id": f"/tenants/{tenant}",
            "tenantId": tenant,
            "displayName": "Local Azure",
            "tenantCategory": "Home",
            "domains": [],
        }
        return Answer(200, {"value": [shown]})

    async def subscriptions(self, call: Call) -> Answer:
        return Answer(200, {"value": [self._subscription()], "count": {"type": "Total", "value": 1}})

    async def subscription(self, call: Call) -> Answer:
        return Answer(200, self._subscription())

    async def locations(self, call: Call) -> Answer:
        base = f"/subscriptions/{self._instance.subscription_id}/locations"
        regions = [
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
        return Answer(200, {"value": regions})

    async def groups(self, call: Call) -> Answer:
        groups = self._engine.resources.below(call.target.path.rpartition("/")[0], GROUP)
        return Answer(200, page(call, [self._engine.present(group) for group in groups], self._instance.arm_url))

    async def resources(self, call: Call) -> Answer:
        """Those with a location, of a subscription or resource group."""
        scope = call.target.path.rpartition("/")[0]
        self._engine.require_scope(parse(f"{scope}/resources"))
        wanted = _filter(call.query.get("$filter", ""))
        found = [
            resource
            for resource in self._engine.resources.below(scope)
            if resource.type != GROUP and "location" in self._engine.types[resource.type.casefold()].top
        ]
        bodies = [self._engine.present(resource) for resource in found]
        shown = [{key: body[key] for key in _SHOWN if key in body} for body in bodies if _matches(body, wanted)]
        return Answer(200, page(call, shown, self._instance.arm_url))

    async def providers(self, call: Call) -> Answer:
        namespaces = sorted({kind.type.split("/")[0] for kind in self._engine.types.values()})
        return Answer(200, {"value": [self._provider(call, name) for name in namespaces]})

    async def provider(self, call: Call) -> Answer:
        """Also the answer of `register`: all are registered."""
        return Answer(200, self._provider(call, call.target.namespace or ""))

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
