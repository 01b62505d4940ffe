"""Faults on demand: what a cloud does to its clients now and then, done when asked for.

`FaultBook` keeps them, `FaultyApp` performs them round a listener's application.
"""

from localazure.faults.app import FaultyApp
from localazure.faults.book import FaultBook
from localazure.faults.rules import Fault, FaultError, Place

__all__ = ["Fault", "FaultBook", "FaultError", "FaultyApp", "Place"]
