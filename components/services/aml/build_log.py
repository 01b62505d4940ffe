"""Which lines of an image build's log a terminal shows: what is being done and what went wrong.

Docker and pip write several hundred lines that only say that all goes well (measured: 272, of which 25 tell something). The whole
log stays with Azure ML; a failed build shows its last lines unfiltered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LONGEST = 160

_TROUBLE = re.compile(
    r"\b(error|failed|failure|cannot|fatal|exception|traceback|warn(ing)?|deprecat\w*|denied)\b", re.IGNORECASE
)
_NOISE = re.compile(
    r"""
      \s*--->                                                       # docker: layer ids, "Running in", "Using cache"
    | \s*(Removing\ intermediate\ container|Removed\ intermediate)
    | (Successfully\ (built|tagged)|Using\ default\ tag)
    | [0-9a-f]{12}:\ (Preparing|Waiting|Pushing|Pushed|Layer\ already\ exists|Mounted\ from|Retrying)
    | [0-9a-f]{12}:\ (Pulling|Pull\ complete|Download|Verifying|Extracting|Already\ exists)
    | The\ push\ refers\ to\ repository
    | \s*(Collecting|Downloading|Using\ cached|Obtaining|Processing|Preparing\ metadata|Getting\ requirements)\b
    | \s*(Building\ wheels?\ for|Created\ wheel|Stored\ in\ directory|Installing\ (build|backend)\ dependencies)\b
    | \s*Requirement\ already\ satisfied
    | Installing\ collected\ packages
    | \s*(Attempting\ uninstall|Found\ existing\ installation|Uninstalling|Successfully\ uninstalled)
    | INFO:\ (pip\ is\ (still\ )?looking\ at|This\ is\ taking\ longer)
    | WARNING:\ Running\ pip\ as\ the\ 'root'\ user                  # the builder's business
    | \[notice\]
    | \s*[-|/\\#=━╸ ]*\d+(\.\d+)?\s?[kMG]?B?/\d+(\.\d+)?\s?[kMG]B     # progress bars
    | [A-Za-z0-9][A-Za-z0-9._-]*==[^\s;]+$                           # what was installed, one by one
    | \#\d+\ (sha256:|extracting|DONE|CACHED|\d+\.\d+\s*$)           # buildkit
    """,
    re.VERBOSE,
)  # fmt: skip
_INSTALLED = re.compile(r"\s*Successfully installed (.+)")


def worth_showing(lines: Iterable[str]) -> Iterator[str]:
    """The telling lines, each at most `LONGEST` characters; pip's list of what it installed becomes a count."""
    for line in lines:
        if installed := _INSTALLED.match(line):
            count = len(installed.group(1).split())
            yield f"Successfully installed {count} package{'' if count == 1 else 's'}"
        elif line.strip() and not _is_noise(line):
            yield line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _is_noise(line: str) -> bool:
    return bool(_NOISE.match(line)) and (not _TROUBLE.search(line) or bool(_HARMLESS.match(line)))


# Names of packages hold words of trouble ("Collecting exceptiongroup").
_HARMLESS = re.compile(
    r"\s*(Collecting|Downloading|Using cached|Requirement already|Installing collected|INFO: |WARNING: Running pip as|\S+==)"
)
