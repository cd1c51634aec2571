#!/bin/sh
# Makes the virtual environment ($2) with the interpreter ($1). Says what to install where Python cannot do it.
set -eu
python=$1
venv=$2
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || {
    echo "datanika needs Python 3.11, 3.12 or 3.13; '$python' is $("$python" --version 2>&1)." >&2
    echo "Name another one: make PYTHON=python3.12 …" >&2
    exit 1
}
# An interrupted set-up leaves an interpreter without pip: that one is made again.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian keeps venv's pip in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing python3-venv" >&2
        apt-get update -qq >/dev/null && apt-get install -y -qq python3-venv >/dev/null
    else
        echo "'$python' cannot make virtual environments. On Debian: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
"$python" -m venv --clear "$venv"
