"""The variables that point SDKs, Pulumi's plugin and this project's services at a local Azure. See docs/architecture.md."""

from __future__ import annotations

import os

from localazure.instance import ARM_PORT, CLOUD_NAME, Instance


def variables(instance: Instance) -> dict[str, str]:
    """Those that belong to the instance; `make env` adds Pulumi's own."""
    bundle = str(instance.ca_bundle)
    found = {
        "LOCALAZURE_HOME": str(instance.folder),
        "ARM_METADATA_HOSTNAME": f"{instance.address}:{ARM_PORT}",
        "ARM_CLOUD_METADATA_URL": f"{instance.arm_url}/metadata/endpoints?api-version=2019-05-01",
        "AZUREML_CURRENT_CLOUD": CLOUD_NAME,
        "MSI_ENDPOINT": instance.identity_url,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "ARM_SUBSCRIPTION_ID": instance.subscription_id,
        "ARM_TENANT_ID": instance.tenant_id,
        "ARM_USE_MSI": "true",
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
    }
    if "DOCKER_HOST" in os.environ:
        found["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
    return found


def plugin_variables(instance: Instance) -> dict[str, str]:
    """What Pulumi's real azure-native plugin reads besides: its MSI login knows App Service's endpoint, not Cloud Shell's. Other SDKs must
    not see them: they would take this way too, and azureml-core does not know it."""
    return {"IDENTITY_ENDPOINT": instance.app_service_url, "IDENTITY_HEADER": instance.identity_header}
