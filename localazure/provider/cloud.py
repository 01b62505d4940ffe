"""Which cloud the plugin talks to, and as whom: the variables of the real plugin, read the same way.

azure-native:metadataHost or ARM_METADATA_HOSTNAME names the host that describes the cloud; azure-native:subscriptionId or
ARM_SUBSCRIPTION_ID the subscription. The local plugin refuses every host that is not a loopback address.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import HttpTransport, RequestsTransport
from azure.identity import DefaultAzureCredential

METADATA_API = "2022-09-01"


class CloudError(Exception):
    """The plugin is not configured for a local Azure, or cannot reach it; the message says what to do."""


@dataclass(frozen=True)
class Cloud:
    resource_manager: str
    audience: str
    graph: str
    subscription_id: str


def setting(config: Mapping[str, str], name: str, variable: str) -> str:
    """A value of the provider's configuration, else of the environment, else ''."""
    return config.get(name) or os.environ.get(variable, "")


def read_cloud(config: Mapping[str, str]) -> Cloud:
    """Ask the metadata host. Raises CloudError."""
    host = setting(config, "metadataHost", "ARM_METADATA_HOSTNAME")
    if not host:
        raise CloudError(
            "the local azure-native plugin never talks to Azure itself: it needs a local Azure and was given none. Set "
            "ARM_METADATA_HOSTNAME or azure-native:metadataHost ('make env' prints the environment), or install the real "
            "azure-native plugin to deploy to Azure"
        )
    subscription = setting(config, "subscriptionId", "ARM_SUBSCRIPTION_ID")
    if not subscription:
        raise CloudError("no subscription: set ARM_SUBSCRIPTION_ID or azure-native:subscriptionId")
    base = host if "://" in host else f"https://{host}"
    _require_loopback(base, "the metadata host")
    url = f"{base.rstrip('/')}/metadata/endpoints?api-version={METADATA_API}"
    document = _fetch(url)
    try:
        cloud = Cloud(
            resource_manager=str(document["resourceManager"]).rstrip("/"),
            audience=str(document["authentication"]["audiences"][0]),
            graph=str(document.get("microsoftGraphResourceId") or "").rstrip("/"),
            subscription_id=subscription,
        )
    except (KeyError, IndexError, TypeError) as error:
        raise CloudError(
            f"{url} answered no description of a cloud: {error!r} is missing. Needed are resourceManager and "
            "authentication.audiences"
        ) from error
    _require_loopback(cloud.resource_manager, "resourceManager")
    return cloud


def transport() -> HttpTransport[Any, Any]:
    """Certificates as Go programs find them (SSL_CERT_FILE), and no proxy: there is none on the way to a loopback address."""
    return RequestsTransport(
        connection_verify=_certificates(), use_env_settings=False, connection_timeout=10, read_timeout=120
    )


def credential(shared: HttpTransport[Any, Any]) -> TokenCredential:
    """Whatever AZURE_TOKEN_CREDENTIALS and its companions choose."""
    return DefaultAzureCredential(transport=shared)


def client_config(cloud: Cloud, identity: TokenCredential) -> dict[str, str]:
    """Who the credential is, from the claims of a token for Microsoft Graph. Raises CloudError."""
    if not cloud.graph:
        raise CloudError(
            "getting client config: The provider configuration must include a value for microsoftGraphEndpoint"
        )
    text = token(identity, cloud.graph)
    try:
        claims = jwt.decode(text, options={"verify_signature": False})
        return {
            "clientId": claims.get("appid") or os.environ.get("ARM_CLIENT_ID", ""),
            "objectId": claims["oid"],
            "subscriptionId": cloud.subscription_id,
            "tenantId": claims.get("tid") or os.environ.get("ARM_TENANT_ID", ""),
        }
    except (jwt.InvalidTokenError, KeyError) as error:
        raise CloudError(f"getting client config: parsing claims from access token: {error!r}") from error


def token(identity: TokenCredential, audience: str) -> str:
    """An access token. Raises CloudError."""
    try:
        return identity.get_token(f"{audience}/.default").token
    except AzureError as error:
        raise CloudError(f"could not acquire access token for {audience}: {error.message}") from error


def _fetch(url: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(url, verify=_certificates(), timeout=30)
        except requests.RequestException as error:
            raise CloudError(
                f"GET {url}: cannot reach the local Azure ({error}). Is it running? 'make up' starts it"
            ) from error
    if answer.status_code != 200:
        raise CloudError(f"GET {url}: HTTP status {answer.status_code}: {answer.text[:500]}")
    try:
        document = answer.json()
    except ValueError as error:
        raise CloudError(f"GET {url}: the answer is no JSON: {answer.text[:500]}") from error
    return document if isinstance(document, dict) else {}


def _certificates() -> str | bool:
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or True


def _require_loopback(url: str, what: str) -> None:
    host = urlsplit(url).hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise CloudError(
            f"{what} is {url}, which is not on this machine: the local azure-native plugin only talks to a local Azure. "
            "Install the real azure-native plugin to deploy to Azure"
        )
