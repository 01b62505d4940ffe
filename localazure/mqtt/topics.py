"""Topic names and topic filters: what is allowed, and which filter takes which topic (MQTT 3.1.1, chapter 4.7)."""

from __future__ import annotations


def check_topic(topic: str) -> None:
    """Raises ValueError for a name nobody can publish to."""
    if not topic:
        raise ValueError("a topic name is empty [MQTT-4.7.3-1]")
    if "+" in topic or "#" in topic:
        raise ValueError("a topic name holds a wildcard [MQTT-3.3.2-2]")


def check_filter(name: str) -> None:
    """Raises ValueError for a filter that is not one."""
    if not name:
        raise ValueError("a topic filter is empty [MQTT-4.7.3-1]")
    levels = name.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            raise ValueError("'#' is not alone in the last level of a topic filter [MQTT-4.7.1-2]")
        if "+" in level and level != "+":
            raise ValueError("'+' is not alone in its level of a topic filter [MQTT-4.7.1-3]")


def matches(name: str, topic: str) -> bool:
    """Whether the filter `name` takes `topic`. Wildcards at the start take no topic that begins with $ [MQTT-4.7.2-1]."""
    if topic.startswith("$") and name[0] in "+#":
        return False
    levels, parts = name.split("/"), topic.split("/")
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index == len(parts) or level not in ("+", parts[index]):
            return False
    return len(levels) == len(parts)
