#!/bin/sh
# Puts what dump.sh wrote, from standard input, in the place of what the database has; which one, the usual PG...
# variables say. No store may run on it. If it fails, everything is as it was.
set -eu
ask() {
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --command="$1"
}

# The role that rows are granted to belongs to the server, not to the dump.
ask "DO \$\$ BEGIN CREATE ROLE bobbin_app NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"
ask "DO \$\$ BEGIN
    IF to_regnamespace('bobbin') IS NOT NULL THEN ALTER SCHEMA bobbin RENAME TO bobbin_replaced; END IF;
END \$\$"
if ! pg_restore --exit-on-error --single-transaction --dbname="${PGDATABASE:-$PGUSER}"; then
    ask "DO \$\$ BEGIN
        IF to_regnamespace('bobbin_replaced') IS NOT NULL THEN ALTER SCHEMA bobbin_replaced RENAME TO bobbin; END IF;
    END \$\$"
    echo "Nothing was restored" >&2
    exit 1
fi
ask "SET client_min_messages = warning; DROP SCHEMA IF EXISTS bobbin_replaced CASCADE"
ask "ANALYZE"
