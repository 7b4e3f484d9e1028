#!/bin/sh
# Brings a store back from a folder that backup.sh made. Stop the services that use it first (scale them to none).
#   restore.sh redis FOLDER      REDIS_HOST, REDIS_PORT (6379), REDISCLI_AUTH: its password; starts a Redis of its own on port 6390 meanwhile
#   restore.sh postgres FOLDER   DATABASE_URL of an empty database, or of the damaged one: what it has of the backup's tables is replaced
set -eu
folder="${2:?usage: restore.sh redis|postgres FOLDER}"
case "$1" in
  redis)
    from=6390
    work=$(mktemp -d)
    cp "$folder/redis-state.rdb" "$work/dump.rdb"
    redis-server --port "$from" --bind 127.0.0.1 --dir "$work" --dbfilename dump.rdb --appendonly no --save "" --daemonize yes --pidfile "$work/pid" --logfile "$work/log" >/dev/null
    trap 'kill "$(cat "$work/pid")"; rm -r "$work"' EXIT
    tries=0
    until [ "$(env -u REDISCLI_AUTH redis-cli -p "$from" ping 2>/dev/null)" = PONG ]; do
      tries=$((tries + 1))
      [ "$tries" -lt 120 ] || { cat "$work/log" >&2; exit 1; }
      sleep 0.5
    done
    auth=""
    [ -z "${REDISCLI_AUTH:-}" ] || auth="AUTH $REDISCLI_AUTH"
    # Key by key into the running Redis, with their times to live; keys with line breaks cannot be named here and are left out.
    env -u REDISCLI_AUTH redis-cli -p "$from" --scan | while IFS= read -r key; do
      # shellcheck disable=SC2086
      env -u REDISCLI_AUTH redis-cli -p "$from" MIGRATE "$REDIS_HOST" "${REDIS_PORT:-6379}" "" 0 10000 COPY REPLACE $auth KEYS "$key" >/dev/null
    done
    echo "restored: $(redis-cli -h "$REDIS_HOST" -p "${REDIS_PORT:-6379}" dbsize) keys"
    ;;
  postgres)
    pg_restore --dbname="$DATABASE_URL" --clean --if-exists --no-owner --no-privileges --single-transaction "$folder/postgres.dump"
    echo "restored: $(pg_restore --list "$folder/postgres.dump" | grep -c 'TABLE DATA') tables"
    ;;
  *)
    echo "usage: restore.sh redis|postgres FOLDER" >&2
    exit 2
    ;;
esac
