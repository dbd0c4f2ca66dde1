#!/bin/sh
# Puts what dump.sh wrote, from standard input, in the place of what the database has; which one, the usual PG...
# variables say. The role should be the one that stores log in as: what is restored belongs to it. No store may run.
#
# All of it is one transaction, and only a whole dump comes to its end: a failure, a cut dump or connection leave
# everything as it was.
set -eu
ask() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

begin="BEGIN;
SET LOCAL client_min_messages = warning;
-- The role that rows are granted to, where stores are superusers, belongs to the server, not to the dump.
DO \$\$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bobbin_app')
        AND (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
    THEN CREATE ROLE bobbin_app NOLOGIN; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- by another database's store, just now
END \$\$;
DO \$\$ BEGIN
    IF to_regnamespace('bobbin') IS NOT NULL THEN ALTER SCHEMA bobbin RENAME TO bobbin_replaced; END IF;
END \$\$;"
end="DROP SCHEMA IF EXISTS bobbin_replaced CASCADE;
COMMIT;
SELECT 'restored';"

said=$({ echo "$begin" && pg_restore --no-owner --file=- && echo "$end"; } | ask | tail -n 1)
if [ "$said" != restored ]; then
    echo "Nothing was restored" >&2
    exit 1
fi
ask --command=ANALYZE
