"""GET of the URLs of long-running operations: learn.microsoft.com/azure/azure-resource-manager/management/async-operations."""

from __future__ import annotations

from localazure.arm.engine import Engine
from localazure.arm.errors import not_implemented
from localazure.arm.model import Answer, Call
from localazure.arm.operations import RETRY_AFTER, Operation


class Polling:
    """The two ways. Where a provider has one URL for both, its query says which: `asyncinfo`, `type=location`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def status(self, call: Call) -> Answer:
        """An Azure-AsyncOperation URL: always 200, with a status."""
        return self._result(call) if call.query.get("type") == "location" else self._status(call)

    async def result(self, call: Call) -> Answer:
        """A Location URL: 202 until the final answer."""
        return self._status(call) if "asyncinfo" in call.query else self._result(call)

    def _status(self, call: Call) -> Answer:
        operation = self._find(call)
        again = RETRY_AFTER if operation.status == "Running" else {}
        return Answer(200, operation.monitored(call.target.path), again)

    def _result(self, call: Call) -> Answer:
        operation = self._find(call)
        if operation.status == "Running":
            query = "&".join(f"{key}={value}" if value else key for key, value in call.query.items())
            here = f"{self._engine.context.instance.arm_url}{call.target.path}?{query}"
            return Answer(202, None, {"Location": here, **RETRY_AFTER})
        if operation.error:
            failure = {key: value for key, value in operation.error.items() if key != "status"}
            return Answer(operation.error["status"], {"error": failure})
        resource = self._engine.resources.get(operation.resource) if operation.work == "provision" else None
        return Answer(200, self._engine.present(resource) if resource else None)

    def _find(self, call: Call) -> Operation:
        operation = self._engine.operations.find(call.target.path.rpartition("/")[2])
        if operation is None:
            raise not_implemented(call.method, call.target.path)
        return operation
