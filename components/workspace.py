"""The Azure ML workspace and what Azure wants it attached to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_azure_native import (
    applicationinsights,
    authorization,
    keyvault,
    machinelearningservices,
    operationalinsights,
    storage,
)

from components.existing import Existing
from components.services.aml.client import workspace_config
from components.settings import Settings

# Built-in roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "storage": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",  # Storage Blob Data Contributor
    "vault": "00482a5a-887f-4fb3-b363-3b7fe8e74483",  # Key Vault Administrator
    "registry": "8311e382-0749-4cb8-b61a-304f252e45ec",  # AcrPush
}


class MlWorkspaceArgs(TypedDict):
    existing_id: NotRequired[str | None]
    """ARM id of a workspace that somebody else made; then nothing else counts."""
    resource_group_name: Input[str]
    registry_id: Input[str]
    """ARM id of the container registry that images are pushed to."""
    friendly_name: NotRequired[str]
    description: NotRequired[str]
    role_assignments: NotRequired[bool]
    """Give the workspace's identity its roles on storage, vault and registry; needs the Owner role."""
    tags: NotRequired[Mapping[str, Input[str]] | None]


def workspace_args(
    settings: Settings, existing: Existing, group: Input[str], registry_id: Input[str]
) -> MlWorkspaceArgs:
    """From a stack's settings."""
    return {
        "existing_id": existing.workspace_id,
        "resource_group_name": group,
        "registry_id": registry_id,
        "friendly_name": settings.workspace.friendly_name,
        "description": settings.workspace.description,
        "role_assignments": settings.role_assignments,
        "tags": settings.tags,
    }


class MlWorkspace(ComponentResource):
    """Storage account, key vault, Log Analytics, Application Insights and the workspace, with a system-assigned identity."""

    workspace_id: Output[str]
    config: Output[str]
    """The text of config.json as `Workspace.from_config()` reads it."""

    def __init__(self, name: str, args: MlWorkspaceArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("amledge:index:MlWorkspace", name, None, opts)
        existing = args.get("existing_id")
        self.workspace_id = Output.from_input(existing) if existing else self._make(name, args).id
        self.config = self.workspace_id.apply(config_json)
        self.register_outputs({"workspaceId": self.workspace_id, "config": self.config})

    def _make(self, name: str, args: MlWorkspaceArgs) -> machinelearningservices.Workspace:
        child = ResourceOptions(parent=self)
        group, tags = args["resource_group_name"], args.get("tags")
        account = storage.StorageAccount(
            f"{name}data",
            resource_group_name=group,
            kind=storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name=storage.SkuName.STANDARD_LRS),
            allow_blob_public_access=False,
            minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
            tags=tags,
            opts=child,
        )
        vault = keyvault.Vault(
            f"{name}vault",
            resource_group_name=group,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=authorization.get_client_config_output().tenant_id,
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
            ),
            tags=tags,
            opts=child,
        )
        logs = operationalinsights.Workspace(
            f"{name}logs",
            resource_group_name=group,
            sku=operationalinsights.WorkspaceSkuArgs(name=operationalinsights.WorkspaceSkuNameEnum.PER_GB2018),
            retention_in_days=30,
            tags=tags,
            opts=child,
        )
        insights = applicationinsights.Component(
            f"{name}insights",
            resource_group_name=group,
            kind="web",
            application_type=applicationinsights.ApplicationType.WEB,
            workspace_resource_id=logs.id,
            tags=tags,
            opts=child,
        )
        workspace = machinelearningservices.Workspace(
            name,
            resource_group_name=group,
            storage_account=account.id,
            key_vault=vault.id,
            application_insights=insights.id,
            container_registry=args["registry_id"],
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.SYSTEM_ASSIGNED
            ),
            sku=machinelearningservices.SkuArgs(name="Basic", tier=machinelearningservices.SkuTier.BASIC),
            friendly_name=args.get("friendly_name") or name,
            description=args.get("description") or None,
            tags=tags,
            # Azure cannot change these in place, and its API description does not say so.
            opts=ResourceOptions(parent=self, replace_on_changes=["keyVault", "storageAccount", "location"]),
        )
        if args.get("role_assignments"):
            self._assign_roles(
                name, workspace, {"storage": account.id, "vault": vault.id, "registry": args["registry_id"]}
            )
        return workspace

    def _assign_roles(
        self, name: str, workspace: machinelearningservices.Workspace, scopes: dict[str, Input[str]]
    ) -> None:
        subscription = workspace.id.apply(lambda workspace_id: "/".join(workspace_id.split("/")[:3]))
        for role, scope in scopes.items():
            authorization.RoleAssignment(
                f"{name}-{role}-role",
                scope=scope,
                role_definition_id=Output.concat(
                    subscription, "/providers/Microsoft.Authorization/roleDefinitions/", ROLES[role]
                ),
                principal_id=workspace.identity.apply(lambda identity: identity.principal_id if identity else ""),
                principal_type=authorization.PrincipalType.SERVICE_PRINCIPAL,  # the SDK's default, User, fails for identities
                opts=ResourceOptions(parent=self, protect=False),
            )


def config_json(workspace_id: str) -> str:
    """config.json of the workspace with this ARM id."""
    return json.dumps(workspace_config(workspace_id), indent=2)
