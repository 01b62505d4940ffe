"""What a build is told of this machine's way to package indexes. None of it may stay in an image: addresses hold passwords."""

from __future__ import annotations

from collections.abc import Mapping

PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_PROXY")
"""Settings of pip that hold inside a container too; paths (certificates, wheel folders, caches) are the host's and do not."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""Docker's predefined build arguments: it keeps them out of an image's history by itself."""


def forwarded(environ: Mapping[str, str], names: tuple[str, ...] = PIP + PROXIES) -> dict[str, str]:
    """Those of `names` that are set."""
    return {name: environ[name] for name in names if environ.get(name)}
