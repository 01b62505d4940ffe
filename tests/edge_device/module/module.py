"""Echoes what comes to its input `in` to its output `out`, with the input's message id as correlation id."""

import json
import os
import signal
import sys
import threading
from typing import Any

if os.environ.get("CRASH"):
    sys.exit(int(os.environ["CRASH"]))

# First of all, because process 1 of a container ignores SIGTERM without a handler.
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())

from azure.iot.device import IoTHubModuleClient, Message, MethodResponse  # noqa: E402

client = IoTHubModuleClient.create_from_edge_environment(connection_retry_interval=1)


def answer(message: Any) -> None:
    body = json.loads(message.data)
    if isinstance(body, dict) and "exit" in body:
        os._exit(body["exit"])
    seen = {
        "id": message.message_id,
        "input": message.input_name,
        "type": message.content_type,
        "encoding": message.content_encoding,
        "properties": {key: value for key, value in message.custom_properties.items() if not key.startswith("$")},
        "from": [message.custom_properties.get("$.cdid"), message.custom_properties.get("$.cmid")],
    }
    reply = Message(json.dumps({"echo": body, "version": os.environ["VERSION"], "seen": seen}))
    reply.message_id = f"re-{message.message_id}"
    reply.correlation_id = message.message_id
    reply.content_type, reply.content_encoding = "application/json", "utf-8"
    client.send_message_to_output(reply, "out")


def call(request: Any) -> None:
    client.send_method_response(MethodResponse.create_from_method_request(request, 200, {"called": request.name}))


client.on_message_received = answer
client.connect()
if os.environ.get("TWIN"):
    client.patch_twin_reported_properties({"wanted": client.get_twin()["desired"].get("wanted")})
    client.on_method_request_received = call
end.wait()
client.shutdown()
