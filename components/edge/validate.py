"""Validation of a deployment manifest before anything is sent: every violation, with its JSON path, at once.

JSON Schemas of our own (`schemas/`) say what a shape can say; the rest is here: names, images, createOptions, routes, and the
hub's limits. The hub itself checks only sizes and keys and leaves the rest to the device, which then reports 400 or 412, or
silently runs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import ValidationError

from components.edge import create_options, routes, schemas
from components.edge.limits import CHUNK_CHARACTERS, MODULES_MAX, Path, excesses
from components.edge.names import MODULE_NAME_RULE, is_image_reference, is_module_name

AGENT, HUB = "$edgeAgent", "$edgeHub"
DESIRED = "properties.desired"


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong. `path` is a JSON path; `rule` a short stable name; `message` never quotes a value that may be
    secret (credentials, environment, createOptions)."""

    path: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.rule}]"


def validate(document: object) -> list[Violation]:
    """All violations of a manifest, in the document's order; an empty list means that it can be sent.

    `document` is what `json.load` gives for one of the forms in use: bare (`{"$edgeAgent": ...}`), `{"modulesContent": ...}` or
    `{"content": {"modulesContent": ...}}`, complete or layered (keys `properties.desired.<path>`). Nothing is raised, whatever it is.
    """
    try:
        found = list(_document(_as_json(document)))
    except RecursionError:
        return [Violation("$", "twin-depth", "nests far deeper than the hub accepts")]
    return list(dict.fromkeys(Violation(_json_path(path), rule, message) for path, rule, message in found))


_Found = tuple[Path, str, str]


def _document(document: object) -> Iterator[_Found]:
    path: Path = ()
    content = document
    for wrapper in ("content", "modulesContent"):
        if isinstance(content, Mapping) and wrapper in content and not {AGENT, HUB} & content.keys():
            content, path = content[wrapper], (*path, wrapper)
    if not isinstance(content, Mapping):
        yield path, "shape", "must be an object with the twins of $edgeAgent, $edgeHub and the modules"
        return
    twins = {}
    for name, twin in content.items():
        shape_errors = list(_twin_shape(twin, (*path, name)))
        yield from shape_errors
        if not shape_errors:
            twins[name] = [_Part(path, name, key, value) for key, value in twin.items()]
    layered = any(part.inside for parts in twins.values() for part in parts)
    if not layered:
        for required in (AGENT, HUB):
            if required not in content:
                yield (
                    path,
                    "required",
                    f"lacks {required}; a deployment that is not layered replaces both runtime twins",
                )
    yield from _twins(twins, layered=layered)


def _twin_shape(twin: object, path: Path) -> Iterator[_Found]:
    if not isinstance(twin, Mapping) or not twin:
        yield path, "shape", f"must be an object with the key {DESIRED!r} (layered: {DESIRED}.<path>)"
        return
    for key, value in twin.items():
        if not isinstance(key, str) or (key != DESIRED and not key.startswith(f"{DESIRED}.")):
            yield (
                (*path, str(key)),
                "shape",
                f"is not a key of a module's content: only {DESIRED!r} and {DESIRED}.<path> are",
            )
        elif key == DESIRED and not isinstance(value, Mapping):
            yield (*path, key), "shape", "must be an object"


@dataclass(frozen=True)
class _Part:
    """What one key of a twin sets: all desired properties, or (layered) the value at `inside`."""

    above: Path
    twin: str
    key: str
    value: Any

    @property
    def path(self) -> Path:
        return (*self.above, self.twin, self.key)

    @property
    def inside(self) -> tuple[str, ...]:
        return tuple(self.key[len(DESIRED) + 1 :].split(".")) if self.key != DESIRED else ()

    def entries(self, collection: str) -> Iterator[tuple[Path, str, Any]]:
        """(path, name, value) of every entry that this part gives to a collection such as `modules`."""
        if self.inside[:1] == (collection,) and len(self.inside) == 2:
            yield self.path, self.inside[1], self.value
            return
        holder, path = self.value, self.path
        if not self.inside and isinstance(holder, Mapping):
            holder, path = holder.get(collection), (*path, collection)
        elif self.inside != (collection,):
            return
        if isinstance(holder, Mapping):
            for name, value in holder.items():
                yield (*path, name), str(name), value


def _twins(twins: Mapping[str, list[_Part]], *, layered: bool) -> Iterator[_Found]:
    agent, hub = twins.get(AGENT, []), twins.get(HUB, [])
    modules = [entry for part in agent for entry in part.entries("modules")]
    names = None if layered else {name for _, name, _ in modules}
    yield from _schemas(agent, schemas.AGENT_VERSIONS, "modules", "module-1.1")
    yield from _modules(modules)
    yield from _system_modules(agent)
    yield from _schemas(hub, schemas.HUB_VERSIONS, "routes", "route-1.1")
    for part in hub:
        for path, _, route in part.entries("routes"):
            yield from _route(path, route, names)
    for name, parts in twins.items():
        if name not in (AGENT, HUB) and names is not None and AGENT in twins and name not in names:
            yield (
                parts[0].path[:-1],
                "unknown-module",
                f"sets properties of {name!r}, which is not among the modules{_like(name, names)}",
            )
        for part in parts:
            if isinstance(part.value, Mapping):
                yield from _below(part.path, excesses(part.value))


def _schemas(parts: list[_Part], versions: Mapping[str, str], collection: str, entry_schema: str) -> Iterator[_Found]:
    for part in parts:
        if part.inside:
            for path, _, value in part.entries(collection):
                yield from _schema_errors(path, schemas.part_validator(entry_schema).iter_errors(value))
            continue
        version = part.value.get("schemaVersion")
        schema = versions.get(version) if isinstance(version, str) else None
        if schema is None:
            known = ", ".join(versions)
            yield (
                (*part.path, "schemaVersion"),
                "schema-version",
                f"must be one of {known}; the device answers 412 to another",
            )
            schema = versions["1.1"]  # the rest is worth telling all the same
            errors = (
                error
                for error in schemas.validator(schema).iter_errors(part.value)
                if "schemaVersion" not in error.path
            )
            yield from _schema_errors(part.path, (error for error in errors if not _misses(error, "schemaVersion")))
        else:
            yield from _schema_errors(part.path, schemas.validator(schema).iter_errors(part.value))


def _misses(error: ValidationError, key: str) -> bool:
    return error.validator == "required" and not error.path and error.message.startswith(f"'{key}'")


def _schema_errors(path: Path, errors: Iterator[ValidationError]) -> Iterator[_Found]:
    for error in errors:
        yield (*path, *error.absolute_path), f"schema:{error.validator}", _schema_message(error)


def _schema_message(error: ValidationError) -> str:
    """Our words: the library's quote the value, which may be a password or an environment variable."""
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            return f"must be of type {' or '.join(wanted) if isinstance(wanted, list) else wanted}"
        case "enum":
            return f"must be one of {', '.join(map(str, wanted))}"
        case "const":
            return f"must be {wanted!r}"
        case "minimum":
            return f"must be at least {wanted}"
        case "maximum":
            return f"must be at most {wanted}"
        case "required" | "additionalProperties" | "unevaluatedProperties":
            return str(error.message)  # names keys only
        case "pattern" if "propertyNames" in error.absolute_schema_path:
            return f"has the key {error.instance!r}, which does not match {wanted}"
        case "pattern":
            return "must not be blank" if wanted == r"\S" else f"must match {wanted}"
    return f"breaks the rule {error.validator}"


def _modules(modules: list[tuple[Path, str, Any]]) -> Iterator[_Found]:
    if len(modules) > MODULES_MAX:
        path = modules[0][0][:-1]
        yield (
            path,
            "module-count",
            f"has {len(modules)} modules; a deployment holds {MODULES_MAX} beside the runtime's own",
        )
    for path, name, module in modules:
        if not is_module_name(name):
            yield path, "module-name", f"is named {name!r}: {MODULE_NAME_RULE}"
        yield from _module_settings(path, module)


def _system_modules(parts: list[_Part]) -> Iterator[_Found]:
    for part in parts:
        for path, _, module in part.entries("systemModules"):
            yield from _module_settings(path, module)


def _module_settings(path: Path, module: Any) -> Iterator[_Found]:
    settings = module.get("settings") if isinstance(module, Mapping) else None
    if not isinstance(settings, Mapping):
        return  # the schema has said so
    path = (*path, "settings")
    image = settings.get("image")
    if isinstance(image, str) and image.strip() and not is_image_reference(image):
        yield (
            (*path, "image"),
            "image",
            f"{image!r} is not an image reference: [host[:port]/]name[:tag][@sha256:digest], in lower case",
        )
    names = create_options.keys(settings)
    for name in names:
        piece = settings[name]
        if isinstance(piece, str) and len(piece) > CHUNK_CHARACTERS:
            message = f"is {len(piece)} characters long; continue after {CHUNK_CHARACTERS} in createOptions01, createOptions02, ..."
            yield (*path, name), "createOptions-chunk", message
    try:
        create_options.parse(settings)
    except create_options.CreateOptionsError as error:
        yield (*path, names[0]), "createOptions", str(error)


def _route(path: Path, route: Any, modules: set[str] | None) -> Iterator[_Found]:
    if isinstance(route, Mapping):
        path, route = (*path, "route"), route.get("route")
    if not isinstance(route, str):
        return  # the schema has said so
    try:
        parsed = routes.parse(route)
    except routes.RouteError as error:
        yield path, "route", str(error)
        return
    if modules is None:  # layered: a module may come from another layer
        return
    for role, name in (("comes from", parsed.source_module), ("goes into", parsed.sink_module)):
        if name is not None and name not in modules:
            yield path, "route-module", f"{role} module {name!r}, which is not among the modules{_like(name, modules)}"


def _as_json(value: object) -> Any:
    """The value with text keys and plain lists, whatever a caller put together in Python or YAML."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value


def _below(path: Path, found: Iterator[_Found]) -> Iterator[_Found]:
    return (((*path, *inner), rule, message) for inner, rule, message in found)


def _like(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _json_path(path: Path) -> str:
    """`$.modulesContent['$edgeAgent']['properties.desired'].modules.scorer`: a dot where an identifier follows, else brackets."""
    steps = []
    for step in path:
        if isinstance(step, int):
            steps.append(f"[{step}]")
        elif str(step).isidentifier():
            steps.append(f".{step}")
        else:
            escaped = str(step).replace("\\", "\\\\").replace("'", "\\'")
            steps.append(f"['{escaped}']")
    return "$" + "".join(steps)
