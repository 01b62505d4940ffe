"""The gRPC face: pulumirpc.ResourceProvider. It translates messages and errors; the work is done in check, diff and crud."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from localazure.provider import VERSION, check, cloud, convert, diff
from localazure.provider.arm import ArmClient, ArmError
from localazure.provider.crud import Crud, InitFailedError
from localazure.provider.engine import Engine
from localazure.provider.naming import EngineNaming
from localazure.provider.shapes import ResourceType, UnknownTokenError, invoke_type, resource_type
from localazure.provider.values import from_struct, to_struct

CONFIG_PREFIX = "azure-native:config:"

Self = TypeVar("Self")
Request = TypeVar("Request")
Response = TypeVar("Response")
Method = Callable[[Self, Request, grpc.ServicerContext], Response]

_EXPECTED = (ArmError, UnknownTokenError, convert.ConvertError, cloud.CloudError)


class RefusedError(Exception):
    """The engine asks for something that the provider does not do."""


def answers(method: Method[Self, Request, Response]) -> Method[Self, Request, Response]:
    """Failures as the engine expects them: UNKNOWN with the text, or with ErrorResourceInitFailed among the details."""

    @functools.wraps(method)
    def call(self: Self, request: Request, context: grpc.ServicerContext) -> Response:
        try:
            return method(self, request, context)
        except InitFailedError as error:
            properties = getattr(request, "properties", None) or getattr(request, "news", None)
            context.set_trailing_metadata((("grpc-status-details-bin", _init_failed(error, properties)),))
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except (*_EXPECTED, RefusedError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        raise AssertionError("abort raises")

    return call


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One plugin process. Methods are called from several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cancelled = threading.Event()
        self._config: dict[str, str] = {}
        self._crud: Crud | None = None
        self._cloud: cloud.Cloud | None = None
        self._credential: Any = None
        self._group_locations: dict[str, str] = {}

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        return plugin_pb2.PluginInfo(version=VERSION)

    def Handshake(  # noqa: N802
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        self._engine.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(supports_autonaming_configuration=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        self._engine.attach(request.address)
        return empty_pb2.Empty()

    @answers
    def GetSchema(  # noqa: N802
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        if request.version:
            raise RefusedError(f"unsupported schema version {request.version}")
        return provider_pb2.GetSchemaResponse(schema="{}")  # Python programs carry their SDK and do not ask

    def GetMapping(  # noqa: N802
        self, request: provider_pb2.GetMappingRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetMappingResponse:
        return provider_pb2.GetMappingResponse()

    def GetMappings(  # noqa: N802
        self, request: provider_pb2.GetMappingsRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetMappingsResponse:
        return provider_pb2.GetMappingsResponse()

    def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse()

    @answers
    def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        if not (request.sends_old_inputs and request.sends_old_inputs_to_delete):
            raise RefusedError("Azure Native provider requires Pulumi CLI v3.74.0 or later")
        self._config = {name.removeprefix(CONFIG_PREFIX): value for name, value in request.variables.items()}
        self._cloud = cloud.read_cloud(self._config)
        transport = cloud.transport()
        self._credential = cloud.credential(transport)
        arm = ArmClient(
            self._cloud.resource_manager, self._cloud.audience, self._credential, transport, self._cancelled
        )
        skip = cloud.setting(self._config, "skipReadOnUpdate", "ARM_SKIP_READ_ON_UPDATE") == "true"
        self._crud = Crud(arm, self._cloud.subscription_id, read_after_write=not skip)
        self._engine.debug(
            f"azure-native is aml-edge's local plugin (as {VERSION}), not Microsoft's or Pulumi's provider; it talks to "
            f"the local Azure at {self._cloud.resource_manager}",
            request.urn,
        )
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    @answers
    def Check(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        resource = _type(request.urn)
        inputs = check.with_defaults(
            resource,
            from_struct(request.news),
            from_struct(request.olds),
            logical_name=request.urn.rpartition("::")[2],
            seed=request.randomSeed,
            engine=_naming(request),
            configured_location=self._config.get("location"),
            group_location=self._group_location,
        )
        failures = [provider_pb2.CheckFailure(reason=reason) for reason in check.failures(resource, inputs)]
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=failures)

    @answers
    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        resource = _type(request.urn)
        old_inputs, old_state = from_struct(request.old_inputs), from_struct(request.olds)
        migrated = check.API_VERSION not in old_inputs and check.API_VERSION in old_state
        if migrated:  # imported, or from a state of version 2: only the outputs tell the API version
            old_inputs[check.API_VERSION] = old_state[check.API_VERSION]
        found = diff.diff(resource, old_inputs, old_state, from_struct(request.news))
        if migrated and check.API_VERSION in found.details:
            found.details[check.API_VERSION].of_inputs = False
        some = bool(found.changes)
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=found.replaces,
            deleteBeforeReplace=found.delete_before_replace,
            diffs=found.changes,
            detailedDiff={path: _property_diff(change) for path, change in found.details.items()},
            hasDetailedDiff=bool(found.details),
        )

    @answers
    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        resource, inputs = _type(request.urn), from_struct(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(convert.preview_outputs(resource.outputs, inputs)))
        state = self._operations().create(resource, inputs, request.timeout)
        self._warn_unread(state.read_back, request.urn, "Create")
        return provider_pb2.CreateResponse(id=state.identity, properties=to_struct(state.outputs))

    @answers
    def Read(  # noqa: N802
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        resource = _type(request.urn)
        inputs = from_struct(request.inputs) if request.HasField("inputs") else None
        found = self._operations().read(resource, request.id, inputs, from_struct(request.properties))
        if found is None:
            return provider_pb2.ReadResponse()
        outputs, refreshed = found
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(outputs), inputs=to_struct(refreshed))

    @answers
    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        resource, news, olds = _type(request.urn), from_struct(request.news), from_struct(request.olds)
        if request.preview:
            outputs = convert.preview_outputs(resource.outputs, news)
            outputs.update({name: olds[name] for name in ("name", "location") if name in olds})
            return provider_pb2.UpdateResponse(properties=to_struct(outputs))
        state = self._operations().update(resource, news, olds, request.timeout)
        self._warn_unread(state.read_back, request.urn, "Update")
        return provider_pb2.UpdateResponse(properties=to_struct(state.outputs))

    @answers
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        self._operations().delete(_type(request.urn), request.id, request.timeout)
        return empty_pb2.Empty()

    @answers
    def Invoke(  # noqa: N802
        self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.InvokeResponse:
        arguments = from_struct(request.args)
        crud = self._operations()
        assert self._cloud
        if request.tok == "azure-native:authorization:getClientConfig":
            outputs: dict[str, Any] = dict(cloud.client_config(self._cloud, self._credential))
        elif request.tok == "azure-native:authorization:getClientToken":
            endpoint = arguments.get("endpoint") or f"{self._cloud.resource_manager}/"
            outputs = {"token": cloud.token(self._credential, str(endpoint))}
        else:
            outputs = crud.invoke(invoke_type(request.tok), arguments)
        return provider_pb2.InvokeResponse(**{"return": to_struct(outputs)})

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        self.cancel()
        return empty_pb2.Empty()

    def cancel(self) -> None:
        """End every wait: what ARM had accepted is reported as not completed."""
        self._cancelled.set()

    def _operations(self) -> Crud:
        if self._crud is None:
            raise RefusedError("the azure-native plugin was not configured: Configure has to come first")
        return self._crud

    def _group_location(self, name: str) -> str | None:
        location = self._group_locations.get(name) or self._operations().group_location(name)
        if location:
            self._group_locations[name] = location
        return location

    def _warn_unread(self, read_back: bool, urn: str, operation: str) -> None:
        if not read_back:
            self._engine.warning(f"Failed to read resource after {operation}. Please report this issue.", urn)


def _type(urn: str) -> ResourceType:
    """`urn:pulumi:<stack>::<project>::<parent types$type>::<name>`. Raises UnknownTokenError."""
    return resource_type(urn.split("::")[2].rpartition("$")[2])


def _naming(request: provider_pb2.CheckRequest) -> EngineNaming | None:
    if not request.HasField("autonaming"):
        return None
    modes = provider_pb2.CheckRequest.AutonamingOptions
    mode = {modes.ENFORCE: "enforce", modes.DISABLE: "disable"}.get(request.autonaming.mode, "propose")
    return EngineNaming(mode, request.autonaming.proposed_name)  # type: ignore[arg-type]


def _property_diff(change: diff.Change) -> provider_pb2.PropertyDiff:
    kinds = provider_pb2.PropertyDiff
    kind = {
        ("add", False): kinds.ADD,
        ("add", True): kinds.ADD_REPLACE,
        ("delete", False): kinds.DELETE,
        ("delete", True): kinds.DELETE_REPLACE,
        ("update", False): kinds.UPDATE,
        ("update", True): kinds.UPDATE_REPLACE,
    }[change.kind, change.replace]
    return provider_pb2.PropertyDiff(kind=kind, inputDiff=change.of_inputs)


def _init_failed(error: InitFailedError, inputs: Any) -> bytes:
    detail = provider_pb2.ErrorResourceInitFailed(id=error.identity, reasons=[str(error)], inputs=inputs)
    if error.outputs is not None:
        detail.properties.CopyFrom(to_struct(error.outputs))
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    return status.SerializeToString()
