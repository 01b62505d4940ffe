"""A deployment manifest as the service SDK takes it."""

from __future__ import annotations

from typing import Any


def manifest(*modules: str, image: str = "registry.example/scorer@sha256:" + "0" * 64) -> dict[str, Any]:
    settings = {"image": image, "createOptions": "{}"}
    module = {"type": "docker", "status": "running", "restartPolicy": "always", "version": "1.0", "settings": settings}
    return {
        "$edgeAgent": {
            "properties.desired": {
                "schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
                "systemModules": {
                    "edgeAgent": {"type": "docker", "settings": settings},
                    "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": settings},
                },
                "modules": dict.fromkeys(modules, module),
            }
        },
        "$edgeHub": {
            "properties.desired": {
                "schemaVersion": "1.1",
                "routes": {"up": "FROM /messages/* INTO $upstream"},
                "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
            }
        },
    }
