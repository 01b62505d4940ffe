"""A simulated IoT Edge device: identity service, edgeAgent and edgeHub in one process, modules in real containers.

`python -m localazure.edge CONFIG_TOML` is one device. It knows its config.toml (the format of IoT Edge 1.2 and newer), the
certificate authority and Docker, and reaches the hub only as a device does: with SAS tokens over REST and MQTT.
The system modules edgeAgent and edgeHub are not pulled: this process is both of them and reports them as running with the
images that the manifest names.
"""

from localazure.edge.supervisor import DeviceSupervisor as DeviceSupervisor
