"""A simulated fleet: agents over real MQTT (TLS, SAS) without containers, hundreds in a process.

Each agent is an edgeAgent to the hub: it connects as `$edgeAgent`, takes desired properties as edgeAgent parses them, and reports as
edgeAgent reports. What it does not do: pull, run containers, be an edge hub (`$edgeHub` never connects). `service.py` is the daemon's side,
`python -m localazure.fleet` one worker process.
"""

from localazure.fleet.service import FleetError as FleetError
from localazure.fleet.service import FleetService as FleetService
