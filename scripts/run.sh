#!/usr/bin/env bash
# Installs what is missing, prepares the database and runs web and workers in this terminal.
# The database is the one DATABASE_URL names; without it, the one of .env (SQLite below data/).
set -euo pipefail
cd "$(dirname "$0")/.."
export PORT=${PORT:-8000}
export KIDNEYWEB_DATA_DIR=${KIDNEYWEB_DATA_DIR:-$PWD/data}
# Demonstration accounts do no harm here: the web process listens on 127.0.0.1 alone.
export KIDNEYWEB_DEMO=${KIDNEYWEB_DEMO:-1}

scripts/install.sh
.venv/bin/python scripts/make_env.py
exec .venv/bin/python scripts/serve.py
