"""Microsoft.Insights: Application Insights components (Azure REST API, applicationinsights 2020-02-02). Everything is synchronous."""

from __future__ import annotations

import uuid
from types import MappingProxyType

from localazure.arm import operations
from localazure.arm.errors import ArmError
from localazure.arm.ids import parse
from localazure.arm.model import Context, NameRule, ResourceType, properties
from localazure.arm.resources import Json, Resource


class Component(ResourceType):
    type = "Microsoft.Insights/components"
    name = NameRule(
        r"[^%&\\?/]{0,259}[^%&\\?/ .]",
        "InvalidParameter",
        "'{name}' is not a valid component name: 1 to 260 characters, none of %&\\?/, not ending with a space or a period.",
    )
    api_versions = ("2020-02-02", "2015-05-01")
    top = ("location", "tags", "kind")
    writable = properties(
        text="Application_Type Flow_Type Request_Source HockeyAppId WorkspaceResourceId IngestionMode "
        "publicNetworkAccessForIngestion publicNetworkAccessForQuery",
        flag="DisableIpMasking ImmediatePurgeDataOn30Days DisableLocalAuth ForceCustomerStorageForProfiler",
        number="SamplingPercentage RetentionInDays",
    )
    required = ("kind", "properties.Application_Type")
    choices = MappingProxyType(
        {
            "properties.Application_Type": ("web", "other"),
            "properties.IngestionMode": (
                "ApplicationInsights",
                "ApplicationInsightsWithDiagnosticSettings",
                "LogAnalytics",
            ),
            "properties.publicNetworkAccessForIngestion": ("Enabled", "Disabled"),
            "properties.publicNetworkAccessForQuery": ("Enabled", "Disabled"),
        }
    )
    immutable = ("properties.Application_Type",)
    patchable = ("tags",)
    system_data = False
    create_status = 200

    def defaults(self, resource: Resource) -> Json:
        return {
            "tags": {},
            "properties": {
                "Flow_Type": "Bluefield",
                "Request_Source": "rest",
                "RetentionInDays": 90,
                "IngestionMode": "LogAnalytics"
                if "WorkspaceResourceId" in resource.properties
                else "ApplicationInsights",
                "publicNetworkAccessForIngestion": "Enabled",
                "publicNetworkAccessForQuery": "Enabled",
                "SamplingPercentage": None,
                "DisableIpMasking": False,
                "Ver": "v2",
            },
        }

    def derived(self, context: Context, resource: Resource) -> Json:
        held = resource.state["properties"]
        ingestion = (
            f"{context.instance.arm_url}/applicationinsights/"  # nothing may leave for a real ingestion endpoint
        )
        return {
            "properties": {
                "ApplicationId": resource.name,
                "Name": resource.name,
                "TenantId": context.instance.subscription_id,
                "ConnectionString": f"InstrumentationKey={held['InstrumentationKey']};IngestionEndpoint={ingestion};"
                f"LiveEndpoint={ingestion};ApplicationId={held['AppId']}",
            }
        }

    def born(self, context: Context, resource: Resource) -> None:
        resource.decide(AppId=str(uuid.uuid4()), InstrumentationKey=str(uuid.uuid4()), CreationDate=operations.now())

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        workspace = new.properties.get("WorkspaceResourceId")
        held = context.resources.get(workspace) if workspace else None
        if workspace and (
            held is None or parse(workspace).type.casefold() != "microsoft.operationalinsights/workspaces"
        ):
            raise ArmError(
                400, "BadRequest", f"The workspace '{workspace}' that component '{new.name}' names could not be found."
            )
