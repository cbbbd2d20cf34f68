#!/usr/bin/env bash
# All checks, the whole suite on a private MariaDB server, and what touches the database on SQLite
# too, each in two processes. Arguments go to the first pytest run.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v chromium >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing chromium ..."
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium
    else
        echo "The browser tests need Chromium. As an administrator of this machine, install it:" \
            "apt install chromium" >&2
        exit 1
    fi
fi
scripts/install.sh requirements-dev.txt

folder=$(mktemp -d)
finish() {
    scripts/mariadb.sh stop "$folder/mariadb" || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Nothing of a test run stays with the project's own data.
export KIDNEYWEB_DATA_DIR=$folder/data
mkdir -p "$KIDNEYWEB_DATA_DIR"
# The data of a test run may be lost in a power cut: no waiting for the disk.
mysql_url=$(scripts/mariadb.sh start "$folder/mariadb" \
    --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --innodb-doublewrite=0)

# Two processes share the cores: more threads in each would only wait for one another.
export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
run_pytest() { .venv/bin/python -m pytest -n 2 --dist loadgroup "$@"; }

scripts/lint.sh
echo "pytest on MariaDB"
DATABASE_URL=$mysql_url run_pytest --cov --cov-report=term:skip-covered "$@"
echo "pytest on SQLite: services, selectors and queue"
DATABASE_URL="sqlite:///$folder/test.sqlite3" run_pytest tests/services tests/selectors tests/queue
