"""IoT Hub: `HubService` holds all hubs of an instance. Their REST side is `rest.py`, their MQTT side `front.py`, both over `hub.py`.

What an SDK meets here is IoT Hub as azure-iot-hub 2.7.0 and azure-iot-device 2.14.0 know it, with symmetric keys and MQTT. Not built, and
answered with 501 and its name: the query language, evaluation of at-scale configurations (they are stored), bulk operations, jobs, X.509,
cloud-to-device messages. The device-to-cloud read side is a local stream, see `events.py`.
"""

from localazure.hub.service import HubService as HubService
