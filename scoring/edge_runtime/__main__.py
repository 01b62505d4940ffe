"""`python <folder>/edge_runtime`, or `python -m scoring.edge_runtime`."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from pathlib import Path


def _package() -> str:
    """The package's name. Run as a folder it has none yet, and no entry of sys.path may make the user's files importable to us."""
    if __package__:
        return __package__
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "edge_runtime", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["edge_runtime"] = package
    spec.loader.exec_module(package)
    sys.path.remove(str(folder)) if str(folder) in sys.path else None
    return "edge_runtime"


if __name__ == "__main__":
    code = importlib.import_module(f"{_package()}.supervisor").main(os.environ)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(
        code
    )  # a thread that still waits for a slow score must not keep the container alive: its message comes again
