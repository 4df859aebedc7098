#!/bin/sh
# The entry point of a standby: copies the primary if that was not done yet, and follows it.
set -eu
if [ "$(id -u)" = 0 ]; then
    chown postgres "$(dirname "$PGDATA")"
    exec gosu postgres "$0" "$@"
fi
if [ ! -e "$PGDATA" ]; then
    # A copy that was cut short is made anew; only a whole one gets the name.
    rm -rf "$PGDATA.part"
    PGPASSWORD=$REPLICATION_PASSWORD pg_basebackup --host="$PRIMARY" --username=replication \
        --pgdata="$PGDATA.part" --checkpoint=fast --wal-method=stream --write-recovery-conf
    mv "$PGDATA.part" "$PGDATA"
fi
exec "$@"
