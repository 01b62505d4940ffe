"""A trained model on Azure IoT Edge devices: settings -> components -> outputs."""

import pulumi
from pulumi_azure_native import resources

from components import existing, settings
from components.deployment import EdgeDeployment, deployment_inputs
from components.device import EdgeDevice, device_args
from components.device_fleet import device_fleet
from components.fleet import fleet_deployments
from components.hub import IotHub, hub_args
from components.image import ModelImage
from components.image_inputs import image_inputs
from components.model import model_ids
from components.promoted_image import PromotedImage, promoted_inputs
from components.registry import ContainerRegistry, device_logins, registry_args
from components.workspace import MlWorkspace, workspace_args

stack = settings.load_from_pulumi()
there = existing.look_up(stack)

kept = pulumi.ResourceOptions(protect=stack.protect)
group = "" if there.everything else resources.ResourceGroup("aml-edge", tags=stack.tags, opts=kept).name
registry = ContainerRegistry("registry", registry_args(stack, there, group), kept)
workspace = MlWorkspace("ml", workspace_args(stack, there, group, registry.registry_id), kept)
hub = IotHub("hub", hub_args(stack, there, group), kept)
models = model_ids(stack, there, workspace.workspace_id)
where = (workspace.workspace_id, registry.registry_id)
image: ModelImage | PromotedImage
if stack.image.ref:
    image = PromotedImage("image", promoted_inputs(stack, registry.registry_id))
else:
    image = ModelImage("image", image_inputs(stack, there, *where, models, hub.hub_id))

logins = device_logins(stack, registry.credentials.login)
devices, deployments = {}, {}
for device in stack.devices:
    devices[device.id] = EdgeDevice(device.id, device_args(stack, device, hub.hub_id), kept)
    inputs = deployment_inputs(stack, device, hub.hub_id, devices[device.id].device_id, image.ref, logins)
    deployments[device.id] = EdgeDeployment(f"{device.id}-deployment", inputs)

fleet = fleet_deployments(stack, hub.hub_id, image.ref, logins, device_fleet(stack, hub.hub_id, kept))

pulumi.export("stack", f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}")
pulumi.export("workspaceConfig", workspace.config)
pulumi.export("loginServer", registry.credentials.login_server)
pulumi.export("registryUsername", registry.credentials.username)
pulumi.export("registryPassword", registry.credentials.password)
pulumi.export("hubId", hub.hub_id)
pulumi.export("modelId", models[0])
pulumi.export("modelIds", models)
pulumi.export("imageRef", image.ref)
pulumi.export("imageFingerprint", image.fingerprint)
pulumi.export("devices", {name: device.status for name, device in devices.items()})
pulumi.export("connectionStrings", {name: device.connection_string for name, device in devices.items()})
pulumi.export("configToml", {name: device.config_toml for name, device in devices.items()})
pulumi.export("cloudInit", {name: device.cloud_init for name, device in devices.items()})
pulumi.export("deployments", {name: deployment.summary for name, deployment in deployments.items()})
pulumi.export("fleet", {name: deployment.summary for name, deployment in fleet.items()})
