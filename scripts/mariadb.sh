#!/usr/bin/env bash
# A private MariaDB server: its own data folder, reached by its own socket and by nothing else.
# Usage: scripts/mariadb.sh start FOLDER [server option ...]   prints the DATABASE_URL
#        scripts/mariadb.sh stop FOLDER
# FOLDER is made if it is missing; no other user of the machine can enter it, so the database
# accounts need no password.
set -euo pipefail
verb=${1:?start or stop}
folder=${2:?the folder of the server}
shift 2
python=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/python
export PATH="$PATH:/usr/sbin:/sbin"

install_server() {
    if command -v mariadbd >/dev/null && command -v mariadb >/dev/null; then return; fi
    # The core packages hold the programs alone: no system service, no data folder in /var/lib.
    local packages="mariadb-server-core mariadb-client-core"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $packages ..." >&2
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            $packages >&2
    else
        echo "A MariaDB server is needed. As an administrator of this machine, install it:" \
            "apt install $packages" >&2
        exit 1
    fi
}

is_alive() {
    [ -f "$folder/server.pid" ] || return 1
    # After a power cut the number may belong to another program by now.
    [ "$(cat "/proc/$(cat "$folder/server.pid")/comm" 2>/dev/null)" = mariadbd ]
}

start_server() {
    install_server
    mkdir -p "$folder"
    chmod 700 "$folder"
    folder=$(cd "$folder" && pwd)
    if is_alive; then
        echo "A MariaDB server is running on $folder already. Please stop it first." >&2
        exit 1
    fi
    # A socket's path may have 107 bytes at most.
    local socket="$folder/server.sock"
    if [ "${#socket}" -gt 100 ]; then socket="$(mktemp -d)/server.sock"; fi
    echo "$socket" > "$folder/socket-path"

    local options=(--no-defaults "--datadir=$folder/data" "--socket=$socket"
        --skip-networking --character-set-server=utf8mb4 --collation-server=utf8mb4_unicode_ci)
    if [ "$(id -u)" = 0 ]; then options+=(--user=root); fi
    if [ ! -d "$folder/data/mysql" ]; then
        mariadb-install-db "${options[@]}" --auth-root-authentication-method=normal \
            --skip-test-db > "$folder/install.log" 2>&1 || {
            echo "MariaDB could not make its data folder; see $folder/install.log." >&2
            exit 1
        }
    fi
    # Outside the group of the terminal, so that Ctrl-C does not reach it: whoever started
    # it stops it, after the programs that use it.
    setsid mariadbd "${options[@]}" "--pid-file=$folder/server.pid" "$@" \
        > "$folder/server.log" 2>&1 < /dev/null &
    local server=$! tries=0
    local client=(mariadb --no-defaults "--socket=$socket" --user=root)
    until "${client[@]}" --execute "SELECT 1" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 300 ]; then
            kill -TERM "$server" 2>/dev/null || true
            echo "MariaDB did not start; see $folder/server.log." >&2
            exit 1
        fi
        sleep 0.1
    done
    "${client[@]}" --execute "CREATE DATABASE IF NOT EXISTS kidneyweb CHARACTER SET utf8mb4;
        CREATE USER IF NOT EXISTS kidneyweb@localhost;
        GRANT ALL ON kidneyweb.* TO kidneyweb@localhost;
        GRANT ALL ON \`test\\_%\`.* TO kidneyweb@localhost;"
    local quoted
    quoted=$("$python" -c 'import sys, urllib.parse as u; print(u.quote(sys.argv[1]))' "$socket")
    echo "mysql://kidneyweb@localhost/kidneyweb?unix_socket=$quoted"
}

stop_server() {
    if is_alive; then
        local server
        server=$(cat "$folder/server.pid")
        kill -TERM "$server"
        while kill -0 "$server" 2>/dev/null; do sleep 0.1; done
    fi
    if [ -f "$folder/socket-path" ]; then
        local socket_folder
        socket_folder=$(dirname "$(cat "$folder/socket-path")")
        rm -f "$folder/socket-path"
        # Only the temporary folder that stood in for a path that was too long.
        if [ "$socket_folder" != "$(cd "$folder" && pwd)" ]; then
            rmdir "$socket_folder" 2>/dev/null || true
        fi
    fi
}

case $verb in
    start) start_server "$@" ;;
    stop) stop_server ;;
    *) echo "start or stop?" >&2; exit 2 ;;
esac
