"""IoT Hub: `HubService` holds all hubs of an instance. Their REST side is `rest.py`, their MQTT side `front.py`, both over `hub.py`.

What an SDK meets here is IoT Hub as azure-iot-hub 2.7.0 and azure-iot-device 2.14.0 know it, with symmetric keys and MQTT. At-scale
deployments are in `fleet.py`, `layers.py` and `configurations.py`, queries in `queries.py` over `query_parser.py`. Not built, and answered
with 501 and its name: jobs, X.509, cloud-to-device messages; automatic device configurations are stored only. The device-to-cloud read side
is a local stream, see `events.py`.
"""

from localazure.hub.service import HubService as HubService
