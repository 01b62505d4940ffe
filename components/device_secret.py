"""`python -m components.device_secret HUB_ID DEVICE [--config-toml]`: one device's connection string, or its config.toml.

The keys of a DeviceFleet are in the hub alone; whoever may list the hub's keys may fetch one. On Azure
`az iot hub device-identity connection-string show` does the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from components.edge import config_toml
from components.services.errors import ServiceError
from components.services.hub import Hub


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m components.device_secret", description=__doc__)
    parser.add_argument("hub_id", help="the stack's output hubId")
    parser.add_argument("device_id")
    parser.add_argument("--config-toml", action="store_true", help="the whole of /etc/aziot/config.toml")
    options = parser.parse_args(arguments)
    try:
        hub = Hub(options.hub_id)
        key = hub.device(options.device_id).primary_key
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if options.config_toml:
        sys.stdout.write(config_toml.render(hub.host_name, options.device_id, key=key))
    else:
        sys.stdout.write(config_toml.connection_string(hub.host_name, options.device_id, key) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
