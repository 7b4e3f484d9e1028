#!/bin/sh
# Saves a store into BACKUP_DIR/YYYY-MM-DDTHH-MM-SSZ/, whole or not at all, while the mesh goes on working.
#   backup.sh redis      REDIS_HOST, REDIS_PORT (6379), REDISCLI_AUTH: its password
#   backup.sh postgres   DATABASE_URL; deletes all but the newest BACKUP_KEEP (14)
set -eu
umask 077
case "${1:-}" in
  redis)
    folder="$BACKUP_DIR/$(date -u +%Y-%m-%dT%H-%M-%SZ)"
    mkdir -p "$folder"
    redis-cli -h "$REDIS_HOST" -p "${REDIS_PORT:-6379}" --rdb "$folder/redis-state.rdb.partial"
    mv "$folder/redis-state.rdb.partial" "$folder/redis-state.rdb"
    ;;
  postgres)
    # The folder of the Redis that was saved just before, else a new one.
    folder=$(find "$BACKUP_DIR" -mindepth 1 -maxdepth 1 -type d -mmin -60 ! -exec test -e '{}/complete' \; -print | sort | tail -n 1)
    folder=${folder:-$BACKUP_DIR/$(date -u +%Y-%m-%dT%H-%M-%SZ)}
    mkdir -p "$folder"
    pg_dump --dbname="$DATABASE_URL" --format=custom --no-owner --no-privileges --file="$folder/postgres.dump.partial"
    # A dump whose table of contents cannot be read is none.
    pg_restore --list "$folder/postgres.dump.partial" >/dev/null
    mv "$folder/postgres.dump.partial" "$folder/postgres.dump"
    touch "$folder/complete"
    find "$BACKUP_DIR" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n "+$((${BACKUP_KEEP:-14} + 1))" | while read -r old; do rm -r "$old"; done
    ;;
  *)
    echo "usage: backup.sh redis|postgres" >&2
    exit 2
    ;;
esac
echo "saved: $(ls -l "$folder")"
