#!/bin/sh
# `make backup`: what the containers of compose.yaml keep, into a folder of the moment's name (or TO=folder).
set -eu
cd "$(dirname "$0")/.."
. deploy/environment.sh
check_own_database

umask 077
to=${TO:-backups/$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p "$to"
docker compose exec -T --env PGUSER=bobbin --env PGDATABASE=bobbin postgres \
    sh -c "$(cat deploy/database/dump.sh)" >"$to/database.part"

# After the database: so all that it tells of is there, but for what its owner has removed meanwhile (status 1).
docker compose exec -T gateway-1 sh -c 'mkdir -p /data/attachments && tar -C /data -cf - attachments || [ $? = 1 ]' \
    >"$to/attachments.tar.part"
# Only what is whole has its name
mv "$to/database.part" "$to/database"
mv "$to/attachments.tar.part" "$to/attachments.tar"
echo "$to"
