#!/usr/bin/env bash
# Like run.sh, on a private MariaDB server that lives as long as this command.
set -euo pipefail
cd "$(dirname "$0")/.."
export KIDNEYWEB_DATA_DIR=${KIDNEYWEB_DATA_DIR:-$PWD/data}
folder=$KIDNEYWEB_DATA_DIR/mariadb

scripts/install.sh
# The server goes last: the programs that use it have ended by then.
trap 'scripts/mariadb.sh stop "$folder"' EXIT
DATABASE_URL=$(scripts/mariadb.sh start "$folder")
export DATABASE_URL
# In the background, so that a signal is passed on at once and not when the programs have ended.
scripts/run.sh &
programs=$!
trap 'kill -TERM "$programs" 2>/dev/null' INT TERM HUP
status=0
while kill -0 "$programs" 2>/dev/null; do
    status=0
    wait "$programs" || status=$?
done
exit "$status"
