"""Azure Container Registry: one real `docker-registry` process per registry behind a gateway that knows ACR's admin user."""

from localazure.registry.service import RegistryService, RegistryUnavailableError

__all__ = ["RegistryService", "RegistryUnavailableError"]
