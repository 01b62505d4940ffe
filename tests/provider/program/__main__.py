"""One resource of every type of the plugin's that the local ARM answers."""

import pulumi
from pulumi_azure_native import (
    applicationinsights,
    authorization,
    containerregistry,
    iothub,
    keyvault,
    machinelearningservices,
    managedidentity,
    operationalinsights,
    resources,
    storage,
)

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"

config = pulumi.Config()
me = authorization.get_client_config()
group = resources.ResourceGroup("group")
account = storage.StorageAccount(
    "data", resource_group_name=group.name, kind="StorageV2", sku={"name": "Standard_LRS"}, minimum_tls_version="TLS1_2"
)
vault = keyvault.Vault(
    "vault",
    resource_group_name=group.name,
    properties=keyvault.VaultPropertiesArgs(
        tenant_id=me.tenant_id, sku=keyvault.SkuArgs(family="A", name="standard"), enable_rbac_authorization=True
    ),
)
logs = operationalinsights.Workspace(
    "logs", resource_group_name=group.name, sku={"name": "PerGB2018"}, retention_in_days=30
)
insights = applicationinsights.Component(
    "insights", resource_group_name=group.name, kind="web", application_type="web", workspace_resource_id=logs.id
)
registry = containerregistry.Registry(
    "registry", resource_group_name=group.name, sku={"name": "Basic"}, admin_user_enabled=True
)
identity = managedidentity.UserAssignedIdentity("identity", resource_group_name=group.name)
authorization.RoleAssignment(
    "role",
    scope=registry.id,
    principal_id=identity.principal_id,
    principal_type="ServicePrincipal",
    role_definition_id=f"/subscriptions/{me.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}",
)
hub = iothub.IotHubResource(
    "hub", resource_group_name=group.name, sku={"name": config.get("hub") or "S1", "capacity": 1}
)
workspace = machinelearningservices.Workspace(
    "ws",
    resource_group_name=group.name,
    storage_account=account.id,
    key_vault=vault.id,
    application_insights=insights.id,
    container_registry=registry.id,
    identity={"type": "SystemAssigned"},
)
credentials = containerregistry.list_registry_credentials_output(
    registry_name=registry.name, resource_group_name=group.name
)
pulumi.export("loginServer", registry.login_server)
pulumi.export("hostName", hub.properties.host_name)
pulumi.export("username", credentials.username)
pulumi.export("discoveryUrl", workspace.discovery_url)
