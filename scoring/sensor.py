"""Readings like those of IoT Edge's simulated temperature sensor, with what makes them anomalous.

The sensor (Azure/iotedge, `edge-modules/SimulatedTemperatureSensor`) heats a machine from 21 to 100 degrees Celsius while
its pressure rises linearly from 1 to 10; the ambient temperature stays about 21 degrees, the ambient humidity between 24 and
26 %. A reading is anomalous when the machine is hotter than that, or when its pressure is not the one of its temperature.
"""

from __future__ import annotations

import numpy as np

FEATURES = ("machine.temperature", "machine.pressure", "ambient.temperature", "ambient.humidity")
"""In the order of the columns; degrees Celsius, the sensor's pressure unit, degrees Celsius, percent."""

COLDEST, HOTTEST = 21.0, 100.0
LOWEST_PRESSURE, HIGHEST_PRESSURE = 1.0, 10.0

_PRESSURE_NOISE = 0.12  # standard deviation of a healthy machine's pressure about the line
_OFF_THE_LINE = 0.8  # an anomalous pressure is at least this far from it
_TOO_HOT = 2.0  # an overheated machine is at least this many degrees above the hottest normal one
_DECIMALS = 4


def pressure_at(temperature: np.ndarray) -> np.ndarray:
    """The line: the pressure of a healthy machine at a temperature."""
    slope = (HIGHEST_PRESSURE - LOWEST_PRESSURE) / (HOTTEST - COLDEST)
    return LOWEST_PRESSURE + slope * (temperature - COLDEST)


def readings(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` readings in random order: an array of (count, 4) in the order of FEATURES, and an array of booleans, true for anomalous.

    Two thirds are normal, a sixth is too hot (its pressure on the line or not), a sixth is off the line. The same seed gives the
    same readings.
    """
    random = np.random.default_rng(seed)
    hot, off = count // 6, count // 6
    normal = count - hot - off
    temperature = np.concatenate(
        [random.uniform(COLDEST, HOTTEST, normal + off), random.uniform(HOTTEST + _TOO_HOT, 2 * HOTTEST, hot)]
    )
    pressure = pressure_at(temperature) + random.normal(0, _PRESSURE_NOISE, count)
    pressure[normal : normal + off] = _elsewhere(random, temperature[normal : normal + off])
    pressure[-(hot // 2) :] = random.uniform(0, 2 * HIGHEST_PRESSURE, hot // 2)
    ambient = np.column_stack([random.normal(21, 0.3, count), random.uniform(24, 26, count)])
    table = np.column_stack([temperature, pressure, ambient]).round(_DECIMALS)
    anomalous = np.arange(count) >= normal
    order = random.permutation(count)
    return table[order], anomalous[order]


def _elsewhere(random: np.random.Generator, temperature: np.ndarray) -> np.ndarray:
    """Pressures between 0 and twice the highest, near the line as often as far from it, but never on it."""
    line = pressure_at(temperature)
    distance = np.where(
        random.random(len(line)) < 0.5,
        random.uniform(_OFF_THE_LINE, 2.5, len(line)),
        random.uniform(_OFF_THE_LINE, 2 * HIGHEST_PRESSURE, len(line)),
    )
    below = line - distance
    return np.where((below > 0) & (random.random(len(line)) < 0.5), below, line + distance)
