"""ARM's routing table: every operation that is here, in the words of the contract.

The first row that fits a request answers it; paths are compared in any case. The last rows lead to the second half of the table, the
descriptions in `providers/`: the types of resources, what they hold, how long their operations run, and their POST actions by name
(`actions()`: `listKeys`, `regenerateCredential`, ...). What neither half has is 501 by name.
Sources: Azure/azure-resource-manager-rpc, v1.0, and the Azure REST API specifications of the providers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from localazure.arm.access_policies import AccessPolicies
from localazure.arm.authorization_lists import RoleAssignments
from localazure.arm.deletion import Deletion
from localazure.arm.directory import Directory
from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError, not_implemented
from localazure.arm.hub_metrics import HubMetrics
from localazure.arm.model import Answer, Call
from localazure.arm.names import NameChecks
from localazure.arm.polling import Polling
from localazure.arm.providers.containerregistry_tasks import RegistryTasks, Tasks
from localazure.arm.role_definitions import RoleDefinitions
from localazure.arm.softdelete import SoftDelete


class Entry(NamedTuple):
    """In `path` a `{word}` is one segment, but for those of `_PLACES`; with `only` the path has no other method: 405."""

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Answer]]
    only: bool = False


def table(engine: Engine, tasks: Tasks | None) -> tuple[Entry, ...]:
    """Without `tasks` registries do nothing by themselves."""
    directory, names, policies, polling = Directory(engine), NameChecks(engine), AccessPolicies(engine), Polling(engine)
    assignments, roles = RoleAssignments(engine), RoleDefinitions(engine)
    deleted, deletion, metrics = SoftDelete(engine), Deletion(engine), HubMetrics(engine)
    return (
        # ARM itself
        Entry("GET", "/tenants", directory.tenants, only=True),
        Entry("GET", "/subscriptions", directory.subscriptions, only=True),
        Entry("GET", "{subscription}", directory.subscription, only=True),
        Entry("GET", "{subscription}/locations", directory.locations, only=True),
        Entry("GET", "{subscription}/resourceGroups", directory.groups, only=True),
        Entry("GET", "{subscription}/resources", directory.resources, only=True),
        Entry("GET", "{group}/resources", directory.resources, only=True),
        Entry("GET", "{subscription}/providers", directory.providers, only=True),
        Entry("GET", "{subscription}/providers/{namespace}", directory.provider, only=True),
        Entry("POST", "{subscription}/providers/{namespace}/register", directory.provider),
        # long-running operations
        Entry("GET", "{scope}/operationStatuses/{operation}", polling.status),
        Entry("GET", "{scope}/workspaceOperationsStatus/{operation}", polling.status),
        Entry("GET", "{scope}/operationResults/{operation}", polling.result),
        Entry("GET", "{scope}/asyncOperations/{operation}", polling.result),
        # what providers have beside resources
        Entry("GET", "{scope}/providers/Microsoft.Authorization/roleAssignments", assignments.collection),
        Entry("GET", "{scope}/providers/Microsoft.Authorization/roleDefinitions", roles.collection),
        Entry("GET", "{scope}/providers/Microsoft.Authorization/roleDefinitions/{role}", roles.get),
        Entry("GET", "/providers/Microsoft.Authorization/roleDefinitions", roles.collection),
        Entry("GET", "/providers/Microsoft.Authorization/roleDefinitions/{role}", roles.get),
        Entry("POST", "{subscription}/providers/Microsoft.ContainerRegistry/checkNameAvailability", names.check),
        Entry("POST", "{subscription}/providers/Microsoft.Devices/checkNameAvailability", names.check),
        Entry("POST", "{subscription}/providers/Microsoft.KeyVault/checkNameAvailability", names.check),
        Entry("POST", "{subscription}/providers/Microsoft.Storage/checkNameAvailability", names.check),
        Entry("GET", "{subscription}/providers/Microsoft.KeyVault/deletedVaults", deleted.vaults),
        Entry("GET", "{deletedVault}", deleted.vault),
        Entry("POST", "{deletedVault}/purge", deleted.purge_vault),
        Entry("GET", "{subscription}/providers/Microsoft.OperationalInsights/deletedWorkspaces", deleted.workspaces),
        Entry("GET", "{group}/providers/Microsoft.OperationalInsights/deletedWorkspaces", deleted.workspaces),
        Entry("PUT", "{group}/providers/Microsoft.KeyVault/vaults/{vault}/accessPolicies/{kind}", policies.change),
        Entry("GET", "{group}/providers/Microsoft.Devices/IotHubs/{hub}/quotaMetrics", metrics.quotas),
        *(_of_registries(RegistryTasks(engine, tasks)) if tasks else ()),
        # resources of the types in `providers/`
        Entry("GET", "{collection}", engine.collection),
        Entry("GET", "{resource}", engine.get),
        Entry("HEAD", "{resource}", engine.head),
        Entry("PUT", "{resource}", engine.put),
        Entry("PATCH", "{resource}", engine.patch),
        Entry("DELETE", "{resource}", deletion.delete),
        Entry("POST", "{resource}/{action}", engine.act),
    )


def _of_registries(tasks: RegistryTasks) -> tuple[Entry, ...]:
    return (
        Entry("POST", "{registry}/listBuildSourceUploadUrl", tasks.upload_url),
        Entry("POST", "{registry}/scheduleRun", tasks.schedule),
        Entry("GET", "{registry}/runs", tasks.runs),
        Entry("GET", "{registry}/runs/{run}", tasks.run),
        Entry("PATCH", "{registry}/runs/{run}", tasks.archive_run),
        Entry("POST", "{registry}/runs/{run}/cancel", tasks.cancel_run),
        Entry("POST", "{registry}/runs/{run}/listLogSasUrl", tasks.log_url),
        Entry("POST", "{registry}/importImage", tasks.import_image),
        Entry("GET", "{registry}/listUsages", tasks.usages),
    )


_NAME = "(?!providers(?:/|$))[^/]+"  # `parse` takes that word for the beginning of a provider's part
# What stands for more than one segment.
_SUBSCRIPTION, _GROUP = "/subscriptions/[^/]+", "/subscriptions/[^/]+/resourceGroups/[^/]+"
_PROVIDER = f"{_SUBSCRIPTION}(?>.*/providers/)[^/]+"  # the last one of a path: `parse` splits there too
_PLACES = {
    "subscription": _SUBSCRIPTION,
    "group": _GROUP,
    "scope": f"{_SUBSCRIPTION}(?:/.+)?",
    "resource": f"(?:{_GROUP}|{_PROVIDER}(?:/[^/]+/[^/]+)+)",
    "collection": f"{_PROVIDER}(?:/[^/]+/[^/]+)*/[^/]+",
    "registry": f"{_GROUP}/providers/Microsoft.ContainerRegistry/registries/{_NAME}",
    "deletedVault": f"{_SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/{_NAME}/deletedVaults/{_NAME}",
}


class Routes:
    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = [(entry, _pattern(entry.path)) for entry in entries]

    async def answer(self, call: Call) -> Answer:
        """Raises ArmError, 501 when there is no entry."""
        for entry, pattern in self._entries:
            if not pattern.fullmatch(call.target.path):
                continue
            if entry.method == call.method:
                return await entry.handler(call)
            if entry.only:
                message = f"The requested resource does not support http method '{call.method}'."
                raise ArmError(405, "MethodNotAllowed", message)
        raise not_implemented(call.method, call.target.path)


def _pattern(path: str) -> re.Pattern[str]:
    expression = re.sub(r"\{(\w+)\}", lambda word: _PLACES.get(word[1], _NAME), path)
    return re.compile(expression, re.IGNORECASE | re.DOTALL)
