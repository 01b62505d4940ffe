"""`fault`, `principal`, `rbac`, `fleet`, `connection-string`: what the owner of the folder asks the running daemon."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from localazure import control, instance
from localazure.cli import report

Adder = Callable[[str, object, str], argparse.ArgumentParser]


def add_commands(command: Adder, common: argparse.ArgumentParser) -> None:
    """Give the command line these commands; `command` makes one of the first level."""
    _fault_commands(command, common)
    _principal_commands(command, common)
    fleet = command("fleet", _fleet, "IoT Edge devices made from now on are light agents without containers")
    fleet.add_argument(
        "size", nargs="?", type=int, help="how many at most; 0 takes them off the air; without it: how it is"
    )
    fleet.add_argument(
        "--match", metavar="REGEX", help="only ids that match; also takes over those that have containers now"
    )
    fleet.add_argument(
        "--fail", type=_share, metavar="SHARE", help="5%%: so many fail to take up new modules; 0%% mends them"
    )
    rbac = command("rbac", _rbac, "whether role assignments are enforced; effective at once")
    rbac.add_argument("state", nargs="?", choices=("strict", "off"))
    string = command("connection-string", _connection_string, "an IoT hub's connection string, for SDK snippets")
    string.add_argument("hub")
    string.add_argument("--policy", default="iothubowner", help="whose key (default: iothubowner)")


def set_strict(folder: Path, strict: bool) -> None:
    control.ask(folder, "PUT", "/localazure/rbac", {"strict": strict})


def _fault_commands(command: Adder, common: argparse.ArgumentParser) -> None:
    group = command("fault", None, "make requests fail on demand").add_subparsers(required=True, metavar="ACTION")
    add = group.add_parser("add", parents=[common], help="add a fault; it counts from the next request on")
    add.set_defaults(run=_fault_add)
    add.add_argument("--match", metavar="REGEX", help="the whole of 'METHOD /path', e.g. 'PUT .*/devices/.*'")
    add.add_argument(
        "--on", metavar="SERVICE", help="arm, ml, blob, identity, hub, registry, hub:NAME or registry:NAME"
    )
    add.add_argument("--times", type=int, metavar="N", help="how many requests (default 1; 0: until cleared)")
    add.add_argument(
        "--status", type=_status, metavar="CODE", help="answer 400 to 599; 5xx: 500, 502, 503, 504 in turn"
    )
    add.add_argument("--retry-after", type=int, metavar="SECONDS", help="with --status")
    add.add_argument("--delay", type=float, metavar="SECONDS", help="wait first; alone or with any other")
    add.add_argument("--reset", choices=("before", "after"), help="break the connection before or after the commit")
    add.add_argument(
        "--kill", choices=("after",), help="the daemon kills itself (-9) after the commit, before the answer"
    )
    add.add_argument(
        "--disconnect", metavar="DEVICE", help="drop its MQTT sessions: now, or with --match when one matches"
    )
    add.add_argument("--registry-401", metavar="NAME", help="this container registry refuses credentials")
    listed = group.add_parser("list", parents=[common], help="the faults with their counts")
    listed.set_defaults(run=_fault_list)
    clear = group.add_parser("clear", parents=[common], help="forget one fault, or all")
    clear.set_defaults(run=_fault_clear)
    clear.add_argument("id", nargs="?", type=int)


def _principal_commands(command: Adder, common: argparse.ArgumentParser) -> None:
    group = command("principal", None, "who can log in").add_subparsers(required=True, metavar="ACTION")
    add = group.add_parser("add", parents=[common], help="make a service principal and print how to log in as it")
    add.set_defaults(run=_principal_add)
    add.add_argument("name")
    add.add_argument("--role", required=True, help="a built-in role's name or id, e.g. Reader")
    add.add_argument("--scope", help="ARM id at which it has the role (default: the subscription)")
    group.add_parser("list", parents=[common], help="all principals").set_defaults(run=_principal_list)
    remove = group.add_parser("remove", parents=[common], help="remove one; its tokens end when they expire")
    remove.set_defaults(run=_principal_remove)
    remove.add_argument("name")


def _status(text: str) -> int | str:
    return "5xx" if text.lower() == "5xx" else int(text)


def _fault_add(options: argparse.Namespace) -> int:
    spec: dict[str, Any] = {"match": options.match, "on": options.on, "times": options.times, "delay": options.delay}
    actions = {
        "status": options.status,
        "reset": options.reset,
        "kill": options.kill,
        "disconnect": options.disconnect,
        "registry": options.registry_401,
    }
    chosen = [name for name, value in actions.items() if value is not None]
    if len(chosen) > 1:
        raise control.ControlError(
            "one fault does one thing: give only one of --status, --reset, --kill, --disconnect, --registry-401"
        )
    match chosen[0] if chosen else "":
        case "status":
            spec |= {"action": "status", "status": options.status}
        case "reset" | "kill" as word:
            spec |= {"action": f"{word}-{actions[word]}"}
        case "disconnect":
            spec |= {"action": "disconnect", "device": options.disconnect}
        case "registry":
            spec |= {"action": "status", "status": 401, "on": f"registry:{options.registry_401}", "credentials": True}
        case _:
            spec |= {"action": "delay"}
    if spec["match"] is None and spec["on"] is None and spec["action"] != "disconnect":
        raise control.ControlError("say which requests: --match or --on, or both")
    spec["retry_after"] = options.retry_after
    made = control.ask(options.folder, "POST", "/localazure/faults", spec)
    if "dropped" in made:
        _print(f"dropped {made['dropped']} MQTT session(s) of {options.disconnect}")
    else:
        _print(f"added {_fault(made)}")
    return 0


def _fault_list(options: argparse.Namespace) -> int:
    faults = control.ask(options.folder, "GET", "/localazure/faults")
    _print("\n".join(_fault(one) for one in faults) or "no faults")
    return 0


def _fault_clear(options: argparse.Namespace) -> int:
    path = "/localazure/faults" + (f"/{options.id}" if options.id is not None else "")
    _print(f"cleared {control.ask(options.folder, 'DELETE', path)['cleared']} fault(s)")
    return 0


def _fault(fault: dict[str, Any]) -> str:
    what = fault["action"] if fault["action"] != "status" else f"status {fault['status']}"
    words = [f"fault {fault['id']}: {what}"]
    words += [fault["device"]] if fault["device"] else []
    words += [f"retry-after {fault['retry_after']} s"] if fault["retry_after"] is not None else []
    words += [f"delay {fault['delay']:g} s"] if fault["delay"] else []
    words += [f"on {fault['on']}"] if fault["on"] else []
    words += [
        f"match {shlex.quote(fault['match'])}",
        f"hit {fault['hits']} of {fault['times'] or 'any number of'} times",
    ]
    return "  ".join(words)


def _principal_add(options: argparse.Namespace) -> int:
    body = {"name": options.name, "role": options.role, "scope": options.scope}
    made = control.ask(options.folder, "POST", "/localazure/principals", body)
    azure = instance.load_or_create(options.folder)
    _print(f"# {made['name']}, object id {made['objectId']}: {options.role} at {options.scope or 'the subscription'}")
    _print("# EnvironmentCredential and ClientSecretCredential (with disable_instance_discovery=True):")
    for name, value in (
        ("AZURE_AUTHORITY_HOST", azure.arm_url),
        ("AZURE_TENANT_ID", azure.tenant_id),
        ("AZURE_CLIENT_ID", made["clientId"]),
        ("AZURE_CLIENT_SECRET", made["clientSecret"]),
    ):
        _print(f"export {name}={shlex.quote(value)}")
    _print(f"# or the managed identity endpoint: {azure.identity_url}?resource=...&client_id={made['clientId']}")
    if not made["strict"]:
        _print("# role assignments are not enforced at the moment: python -m localazure rbac strict")
    return 0


def _principal_list(options: argparse.Namespace) -> int:
    for one in control.ask(options.folder, "GET", "/localazure/principals"):
        _print(f"{one['name']}  object id {one['objectId']}  client id {one['clientId']}")
    return 0


def _principal_remove(options: argparse.Namespace) -> int:
    removed = control.ask(options.folder, "DELETE", f"/localazure/principals/{quote(options.name, safe='')}")
    _print(f"removed {removed['name']}")
    return 0


def _rbac(options: argparse.Namespace) -> int:
    if options.state:
        set_strict(options.folder, options.state == "strict")
    strict = control.ask(options.folder, "GET", "/localazure/rbac")["strict"]
    _print("role assignments are enforced" if strict else "role assignments are kept but not enforced")
    return 0


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def _fleet(options: argparse.Namespace) -> int:
    asked = {name: getattr(options, name) for name in ("size", "match", "fail") if getattr(options, name) is not None}
    fleet = control.ask(
        options.folder, *(("PUT", "/localazure/fleet", asked) if asked else ("GET", "/localazure/fleet"))
    )
    _print(report.fleet(fleet))
    return 0


def _connection_string(options: argparse.Namespace) -> int:
    path = f"/localazure/hubs/{quote(options.hub, safe='')}/connection-string?policy={quote(options.policy, safe='')}"
    _print(control.ask(options.folder, "GET", path)["connectionString"])
    return 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
