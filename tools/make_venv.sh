#!/bin/sh
# The virtual environment from the locks: tools/make_venv.sh PYTHON FOLDER. The only step without Python of our own.
set -eu
python=$1 folder=$2
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    echo "error: Python 3.11, 3.12 or 3.13 is needed; '$python' is $("$python" --version 2>&1 || echo missing)." >&2
    echo "  Debian 12: apt-get install python3 python3-venv; or name another: make PYTHON=python3.12 up" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "  install the Debian package python3-venv" >&2
        apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
        echo "error: Python's venv module is missing. Debian or Ubuntu: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
if command -v flock >/dev/null; then # another make of this clone may be at it: then there is little left to do
    exec 9<.
    flock 9
fi
echo "  make the virtual environment $folder (usually two minutes)" >&2
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r requirements.txt -r requirements-local.txt
"$folder/bin/python" -m pip check >&2 # what make prints may be evaluated (make env)
