"""A trained model on Azure IoT Edge devices: settings -> components -> outputs."""

import pulumi
from pulumi_azure_native import resources

from components import settings
from components.deployment import EdgeDeployment, deployment_inputs
from components.device import EdgeDevice
from components.hub import IotHub
from components.image import ModelImage, image_inputs
from components.model import RegisteredModel, model_inputs
from components.registry import ContainerRegistry
from components.workspace import MlWorkspace

stack = settings.load_from_pulumi()

group = resources.ResourceGroup("aml-edge").name
registry = ContainerRegistry("registry", {"resource_group_name": group, "sku": stack.registry.sku})
workspace = MlWorkspace(
    "ml",
    {
        "resource_group_name": group,
        "registry_id": registry.registry_id,
        "friendly_name": stack.workspace.friendly_name,
        "description": stack.workspace.description,
        "role_assignments": stack.role_assignments,
    },
)
hub = IotHub("hub", {"resource_group_name": group, "sku": stack.hub.sku, "units": stack.hub.units})
model = RegisteredModel("model", model_inputs(stack, workspace.workspace_id))
image = ModelImage("image", image_inputs(stack, workspace.workspace_id, registry.registry_id, [model.model_id]))

devices, deployments = {}, {}
for device in stack.devices:
    devices[device.id] = EdgeDevice(device.id, {"hub_id": hub.hub_id, "device_id": device.id, "tags": device.tags})
    inputs = deployment_inputs(stack, hub.hub_id, devices[device.id].device_id, image.ref, [registry.credentials.login])
    deployments[device.id] = EdgeDeployment(f"{device.id}-deployment", inputs)

pulumi.export("workspaceConfig", workspace.config)
pulumi.export("loginServer", registry.credentials.login_server)
pulumi.export("registryUsername", registry.credentials.username)
pulumi.export("registryPassword", registry.credentials.password)
pulumi.export("hubId", hub.hub_id)
pulumi.export("modelId", model.model_id)
pulumi.export("imageRef", image.ref)
pulumi.export("imageFingerprint", image.fingerprint)
pulumi.export("devices", {name: device.status for name, device in devices.items()})
pulumi.export("connectionStrings", {name: device.connection_string for name, device in devices.items()})
pulumi.export("configToml", {name: device.config_toml for name, device in devices.items()})
pulumi.export("deployments", {name: deployment.summary for name, deployment in deployments.items()})
