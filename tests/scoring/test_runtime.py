"""The parts of the runtime that need no container. Names and tokens are compared with what azure-iot-device makes and reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from azure.iot.device import Message as SdkMessage
from azure.iot.device.common.auth.sastoken import RenewableSasToken
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from azure.iot.device.iothub.pipeline import mqtt_topic_iothub as sdk
from hypothesis import given
from hypothesis import strategies as st

from scoring.edge_runtime import methods, reasons, sas, topics
from scoring.edge_runtime.messages import (
    MAX_OUTPUT_BYTES,
    Answer,
    Message,
    output_of,
    request_headers,
)
from scoring.edge_runtime.scorer import Scorer, ServerUnavailableError
from scoring.edge_runtime.server import server_environment
from scoring.edge_runtime.settings import EdgeIdentity, Settings, SettingsError
from scoring.edge_runtime.workload import WorkloadApi, WorkloadError
from tests.scoring.conftest import SCORING
from tests.scoring.edge_double import DEVICE, GENERATION, HUB, MODULE
from tests.scoring.edge_double import WorkloadApi as WorkloadDouble

IDENTITY = EdgeIdentity(HUB, DEVICE, MODULE, GENERATION, "edge-gw", "unix:///nowhere", "2019-01-30")
SETTINGS = Settings.read({"AML_APP_ROOT": str(SCORING)})
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = TEXT.filter(lambda name: name != "" and not name.startswith("$."))
PROPERTIES = st.dictionaries(NAMES, TEXT, max_size=5)


# Names and properties


def read_by_sdk(topic: str) -> SdkMessage:
    message = SdkMessage(b"")
    sdk.extract_message_properties_from_topic(topic, message)
    return message


@given(TEXT, PROPERTIES)
def test_what_the_sdk_sends_is_read(message_id: str, properties: dict[str, str]) -> None:
    message = SdkMessage(b"", message_id=message_id or None)
    message.custom_properties = dict(properties)
    topic = sdk.encode_message_properties_in_topic(message, f"devices/{DEVICE}/modules/{MODULE}/inputs/in/")
    name, found = topics.parse_input(IDENTITY, topic)
    assert name == "in"
    assert found == ({"$.mid": message_id} if message_id else {}) | properties


@given(NAMES, PROPERTIES)
def test_what_is_sent_is_read_by_the_sdk(output: str, properties: dict[str, str]) -> None:
    topic = topics.output_topic(IDENTITY, output, {"$.mid": "m", **properties})
    assert not set(topic) & {"#", "+", "\0"}
    start = sdk.get_telemetry_topic_for_publish(DEVICE, MODULE)
    assert topic.startswith(start)
    message = read_by_sdk(f"devices/{DEVICE}/modules/{MODULE}/inputs/in/{topic.removeprefix(start)}")
    assert message.message_id == "m"
    assert {key: value for key, value in message.custom_properties.items() if key != "$.on"} == properties


@given(st.dictionaries(NAMES, st.none() | TEXT, max_size=5))
def test_properties_survive_both_ways(properties: dict[str, str | None]) -> None:
    assert topics.decode(topics.encode(properties)) == properties


@given(st.text(max_size=200))
def test_any_topic_is_read_or_refused(rest: str) -> None:
    name, properties = topics.parse_input(IDENTITY, f"devices/{DEVICE}/modules/{MODULE}/inputs/{rest}")
    assert isinstance(name, str)
    topics.encode(properties) if "\ud800" not in rest else None


def test_direct_methods_are_read_and_answered_as_the_sdk_does() -> None:
    topic = "$iothub/methods/POST/score/?$rid=12"
    assert methods.call(topic) == (sdk.get_method_name_from_topic(topic), sdk.get_method_request_id_from_topic(topic))
    assert methods.call(f"devices/{DEVICE}/modules/{MODULE}/inputs/in/") is None
    assert sdk.get_method_topic_for_subscribe() == methods.FILTER
    good = methods.result("12", Answer(200, b'{"a": 1}', "application/json"))
    assert (good.topic, good.body) == (sdk.get_method_topic_for_publish("12", 200), b'{"a": 1}')
    assert methods.result("1", Answer(200, b"plain", "text/plain")).body == b'"plain"'
    large = methods.result("1", Answer(200, json.dumps("x" * methods.MAX_PAYLOAD_BYTES).encode(), "application/json"))
    assert "/413/" in large.topic
    assert len(large.body) < 1000


def test_names_are_the_sdk_s() -> None:
    assert topics.input_filter(IDENTITY) == sdk.get_input_topic_for_subscribe(DEVICE, MODULE)
    assert topics.user_name(IDENTITY).startswith(f"{HUB}/{DEVICE}/{MODULE}/?api-version=")
    with pytest.raises(ValueError, match="not one of an input"):
        topics.parse_input(IDENTITY, "$iothub/methods/POST/restart/?$rid=1")


@given(st.binary(min_size=1, max_size=64), st.integers(10**9, 10**10), st.text("aZ0-_.:%=@", min_size=1, max_size=20))
def test_the_token_is_the_sdk_s(key: bytes, expiry: int, module: str) -> None:
    identity = EdgeIdentity(HUB, DEVICE, module, GENERATION, "edge-gw", "unix:///nowhere", "2019-01-30")

    def sign(text: str) -> str:
        return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()

    reference = RenewableSasToken(
        f"{HUB}/devices/{DEVICE}/modules/{module}", SymmetricKeySigningMechanism(base64.b64encode(key))
    )
    reference._expiry_time = expiry
    assert sas.token(identity, expiry, sign) == reference._build_token()


# Messages


@given(
    st.binary(max_size=50),
    PROPERTIES,
    st.dictionaries(st.sampled_from(["$.mid", "$.ct", "$.ce", "$.cdid", "$.on"]), TEXT),
)
def test_every_message_becomes_a_request_and_an_output(
    body: bytes, own: dict[str, str], system: dict[str, str]
) -> None:
    message = Message("amlInput", body, {**own, **system})
    for name, value in request_headers(message).items():
        assert name.isascii()
        assert value.isprintable()
        assert value.isascii()
    for status, output_name in ((200, "amlOutput"), (400, "amlError"), (500, "amlError")):
        output = output_of(message, Answer(status, b"{}", "application/json"), SETTINGS, IDENTITY)
        bag = topics.decode(output.topic.partition("/messages/events/")[2])
        assert bag.pop("$.on") == output_name
        assert bag.pop("$.mid")
        assert bag.pop("$.cid", None) == (system.get("$.mid") or None)
        assert (bag.pop("$.ct"), bag.pop("$.ce")) == ("application/json", "utf-8")
        assert bag == own


def output_id(message: Message) -> str | None:
    output = output_of(message, Answer(200, b"{}", "application/json"), SETTINGS, IDENTITY)
    return topics.decode(output.topic.partition("/messages/events/")[2])["$.mid"]


def test_the_output_s_id_follows_from_the_input_s() -> None:
    one = Message("amlInput", b"1", {"$.mid": "m", "$.cdid": "edge-1"})
    again = Message("amlInput", b"1", {"$.mid": "m", "$.cdid": "edge-1", "site": "lab"})
    others = [Message("amlInput", b"1", {"$.mid": "n", "$.cdid": "edge-1"}), Message("amlInput", b"1", {"$.mid": "m"})]
    assert output_id(one) == output_id(again)
    assert output_id(one) not in [output_id(other) for other in others]
    without = Message("amlInput", b"1", {})
    assert output_id(without) != output_id(without)


@pytest.mark.parametrize(
    ("body", "properties", "expected"),
    [
        (b'{"a": 1}', {}, "application/json"),
        (b'{"a": 1}', {"$.ce": "utf-8"}, "application/json; charset=utf-8"),
        (b"\xff", {}, "application/octet-stream"),
        (b"[" * 200_000, {}, "application/octet-stream"),
        (b"1", {"$.ct": "text/csv", "$.ce": "base64"}, "text/csv"),
        (b"1", {"$.ct": "text/csv\r\nX-Evil: 1"}, "application/json"),
        (b"1", {"$.ct": None}, "application/json"),
    ],
)
def test_content_type_of_the_request(body: bytes, properties: dict[str, str | None], expected: str) -> None:
    assert request_headers(Message("amlInput", body, properties))["Content-Type"] == expected


def test_ids_that_the_server_would_refuse_stay_out_of_the_headers() -> None:
    for id_, there in (("m" * 100, True), ("m" * 101, False), ("a b", False), ("é", False), ("", False)):
        assert ("x-ms-client-request-id" in request_headers(Message("amlInput", b"", {"$.mid": id_}))) == there


def test_size_limits() -> None:
    def output(body: int, own: int) -> Any:
        message = Message("amlInput", b"", {"$.mid": "m", "own": "ä" * own})
        made = output_of(message, Answer(200, b"x" * body, "text/plain"), SETTINGS, IDENTITY)
        assert len(made.topic) <= topics.MAX_TOPIC_BYTES
        return topics.decode(made.topic.partition("/messages/events/")[2])

    assert output(MAX_OUTPUT_BYTES - 500, 0)["$.on"] == "amlOutput"
    assert output(MAX_OUTPUT_BYTES, 0)["$.on"] == "amlError"
    assert output(10, 5000)["own"]
    assert "own" not in output(10, 20_000)


# The call of the server


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket, int], None]], int]]:
    """A server that treats the n-th connection as told; returns its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))

    def begin(behave: Callable[[socket.socket, int], None]) -> int:
        listener.listen()

        def run() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    behave(connection, number)
                number += 1

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    yield begin
    listener.shutdown(socket.SHUT_RDWR) if listener.fileno() >= 0 else None
    listener.close()


MESSAGE = Message("amlInput", b"{}", {"$.mid": "m"})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"


def answer(seen: list[int], *answers: bytes, pause: float = 0.0) -> Callable[[socket.socket, int], None]:
    """Take note of a connection, read the request, answer with the n-th answer; close without one when there is none."""

    def behave(connection: socket.socket, number: int) -> None:
        seen.append(number)
        connection.recv(9999)
        time.sleep(pause)
        connection.sendall(answers[number] if number < len(answers) else b"")

    return behave


def test_a_connection_that_broke_is_tried_again(serve: Any) -> None:
    port = serve(answer([], b"", b"HTTP/1.1 2", OK))
    assert Scorer(60, 120, port).score(MESSAGE) == Answer(200, b"{}", "application/json")


def test_what_breaks_the_server_is_not_tried_for_ever(serve: Any) -> None:
    seen: list[int] = []
    port = serve(answer(seen))
    assert Scorer(60, 120, port).score(MESSAGE).status == 502
    assert len(seen) == 3


def test_an_error_answer_is_not_repeated(serve: Any) -> None:
    seen: list[int] = []
    port = serve(answer(seen, BUSY))
    assert Scorer(60, 120, port).score(MESSAGE) == Answer(503, b"{}", "")
    assert seen == [0]


def test_a_server_that_does_not_answer(serve: Any) -> None:
    port = serve(answer([], pause=600))
    begin = time.monotonic()
    assert Scorer(120, 0.8, port).score(MESSAGE).status == 504
    assert 0.7 < time.monotonic() - begin < 100, "the total counts, not the attempt's"


def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(
            ServerUnavailableError, match=r"scoring message 'm': nobody listened on port \d+ for 0\.5 s"
        ):
            Scorer(1, 0.5, closed.getsockname()[1]).score(MESSAGE)


# The reason of a failure


def test_the_script_s_exception_is_told_to_who_asks() -> None:
    listener = reasons.Listener(logging.ERROR)
    logger = logging.getLogger("tests.reasons")
    logger.addHandler(listener)
    logger.propagate = False

    def app(environ: dict[str, str], start: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/fails":
            try:
                raise RuntimeError("the server's own") from ValueError("ärger\r\nX-Evil: 1" + "x" * 2000)
            except RuntimeError:
                logger.error("Encountered Exception")
        start("500 ERROR" if environ["PATH_INFO"] == "/fails" else "200 OK", [("a", "b")])
        return [b""]

    def headers(path: str, **environ: str) -> dict[str, str]:
        seen: list[Any] = []
        reasons.telling(app)({"PATH_INFO": path, **environ}, lambda *arguments: seen.extend(arguments))
        return dict(seen[1])

    told = headers("/fails", HTTP_X_AML_EDGE="1")
    assert told.pop("a") == "b"
    reason = told.pop(reasons.REASON)
    assert not told
    assert unquote(reason).startswith("ValueError: ärger\r\nX-Evil: 1xxx")
    assert len(unquote(reason)) == reasons.LONGEST
    assert "\n" not in reason
    assert headers("/fine", HTTP_X_AML_EDGE="1") == {"a": "b"}, "nothing is left from the request before"
    assert headers("/fails") == {"a": "b"}


# The workload API


@pytest.fixture
def workload(tmp_path: Path) -> Iterator[tuple[WorkloadDouble, WorkloadApi]]:
    double = WorkloadDouble(tmp_path / "w.sock", b"key", "PEM")
    identity = EdgeIdentity(HUB, DEVICE, MODULE, GENERATION, "edge-gw", f"unix://{tmp_path}/w.sock", "2019-01-30")
    yield double, WorkloadApi(identity)
    if (tmp_path / "w.sock").exists():
        double.close()


def test_workload_api(workload: tuple[WorkloadDouble, WorkloadApi]) -> None:
    double, api = workload
    assert api.trust_bundle() == "PEM"
    assert api.sign("text") == base64.b64encode(hmac.new(b"key", b"text", hashlib.sha256).digest()).decode()
    double.failing = 1
    with pytest.raises(WorkloadError, match=r"POST /modules/scorer/genid/\d+/sign.*: status 500"):
        api.sign("text")
    double.answer = lambda *_: (200, {"digest": ""})  # type: ignore[method-assign]
    with pytest.raises(WorkloadError, match="has no 'digest'"):
        api.sign("text")
    double.close()
    with pytest.raises(WorkloadError, match="is the IoT Edge daemon running"):
        api.trust_bundle()


@pytest.mark.parametrize("uri", ["npipe://x", "unix:", "workload.sock"])
def test_a_workload_uri_of_another_kind(uri: str) -> None:
    with pytest.raises(WorkloadError, match="want unix:///path"):
        WorkloadApi(EdgeIdentity(HUB, DEVICE, MODULE, GENERATION, "gw", uri, "v")).sign("text")


# Settings


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    environment = {"AML_APP_ROOT": str(tmp_path), "WORKER_COUNT": "many", "AML_DRAIN_SECONDS": "-1", "AML_INPUT": "a/b"}
    with pytest.raises(SettingsError) as error:
        Settings.read(environment)
    for key in (
        "WORKER_COUNT is 'many'",
        "AML_DRAIN_SECONDS is '-1'",
        "AML_INPUT is 'a/b'",
        "no main.py and no score.py",
    ):
        assert key in str(error.value)


def test_which_script_is_served(tmp_path: Path) -> None:
    def script(**environment: str) -> str:
        return Settings.read({"AML_APP_ROOT": str(tmp_path), **environment}).script.name

    for name in ("score.py", "main.py", "other.py"):
        (tmp_path / name).touch()
        assert script() == ("score.py" if name == "score.py" else "main.py")
    assert script(AZUREML_ENTRY_SCRIPT="other.py") == "other.py"
    with pytest.raises(SettingsError, match=r"holds no none\.py"):
        script(AZUREML_ENTRY_SCRIPT="none.py")


def test_edge_identity() -> None:
    assert EdgeIdentity.read({"IOTEDGE_DEVICEID": "edge-1"}) is None
    with pytest.raises(SettingsError, match=r"IOTEDGE_DEVICEID is not set.*IOTEDGE_GATEWAYHOSTNAME is not set.*x509"):
        EdgeIdentity.read({"IOTEDGE_WORKLOADURI": "unix:///w", "IOTEDGE_AUTHSCHEME": "x509"})


def test_an_old_mqtt_client_is_refused_in_words(tmp_path: Path) -> None:
    """This environment holds the paho-mqtt 1 that azure-iot-device pins: the very mistake to be made in a conda file."""
    (tmp_path / "score.py").touch()
    names = (
        "IOTHUBHOSTNAME",
        "DEVICEID",
        "MODULEID",
        "MODULEGENERATIONID",
        "GATEWAYHOSTNAME",
        "APIVERSION",
        "WORKLOADURI",
    )
    environment = {f"IOTEDGE_{name}": "x" for name in names}
    run = subprocess.run(
        [sys.executable, str(SCORING / "edge_runtime")],
        env={**environment, "AML_APP_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 2
    assert "cannot start: the edge module runtime needs paho-mqtt 2 or newer" in run.stderr
    assert "Traceback" not in run.stderr


REASONS = SCORING / "edge_runtime" / "reasons.py"


def test_the_server_s_environment(tmp_path: Path) -> None:
    def made(as_module: bool = True, **environment: str) -> dict[str, str]:
        place = Settings.read({"AML_APP_ROOT": str(SCORING), **environment})
        environment.pop("AML_APP_ROOT", None)
        return server_environment(place, environment, as_module=as_module)

    assert made(AZUREML_MODEL_DIR="azureml-models/m/1")["AZUREML_MODEL_DIR"] == f"{SCORING}/azureml-models/m/1"
    assert made(AZUREML_MODEL_DIR="/models")["AZUREML_MODEL_DIR"] == "/models"
    assert Path(made(HOME="/nonexistent")["HOME"]).is_dir()
    assert made(HOME=str(tmp_path), KEEP="it") == {
        "HOME": str(tmp_path),
        "KEEP": "it",
        "AML_APP_ROOT": str(SCORING),
        "SCORING_TIMEOUT_MS": "10000",
        "GUNICORN_CMD_ARGS": f"--config {REASONS}",
    }
    assert made(SCORING_TIMEOUT_MS="7")["SCORING_TIMEOUT_MS"] == "7"
    assert made(GUNICORN_CMD_ARGS="--keep-alive 5")["GUNICORN_CMD_ARGS"] == f"--keep-alive 5 --config {REASONS}"
    assert made(GUNICORN_CMD_ARGS="-c mine.py")["GUNICORN_CMD_ARGS"] == "-c mine.py"
    (tmp_path / "score.py").touch()
    (tmp_path / "gunicorn.conf.py").touch()
    assert made(AML_APP_ROOT=str(tmp_path))["GUNICORN_CMD_ARGS"] == "", (
        "the user's own file is the one that gunicorn reads"
    )
    assert "SCORING_TIMEOUT_MS" not in made(as_module=False)


def test_every_variable_is_documented() -> None:
    import scoring.edge_runtime as package

    source = (Path(os.fspath(package.__file__)).parent / "settings.py").read_text()
    names = set(re.findall(r'"((?:AML|AZUREML|WORKER)_[A-Z_]+)"', source))
    assert len(names) > 10
    for name in names:
        assert re.search(rf"^    {name} ", package.__doc__ or "", re.MULTILINE) or name == "AZUREML_ENTRY_SCRIPT", name
    options = (package.__doc__ or "").partition("createOptions of the module\n")[2]
    assert json.loads(options)["HostConfig"]["ReadonlyRootfs"] is True
