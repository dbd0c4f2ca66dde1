#!/bin/sh
# `make restore FROM=folder`: puts what `make backup` wrote in the place of what the containers keep, and starts them.
set -eu
cd "$(dirname "$0")/.."
. deploy/environment.sh
: "${FROM:?Say which backup: make restore FROM=backups/...}"
check_own_database
check_published
check_same_users

# A look at the backup before anything stops
[ -r "$FROM/database" ] || refuse "$FROM/database cannot be read"
tar -tf "$FROM/attachments.tar" >/dev/null
docker compose up --detach --wait --no-deps postgres
docker compose exec -T postgres pg_restore --list <"$FROM/database" >/dev/null

stopped=$(services)
# If it fails or is interrupted, they go on as before
trap 'docker compose start $stopped' EXIT
trap 'exit 130' HUP INT TERM
docker compose stop $stopped
docker compose exec -T --env PGUSER=bobbin --env PGDATABASE=bobbin postgres \
    sh -c "$(cat deploy/database/load.sh)" <"$FROM/database"
docker compose run --rm --no-deps -T gateway-1 tar -C /data -xf - <"$FROM/attachments.tar"
trap - EXIT
docker compose up --detach --wait --no-build
