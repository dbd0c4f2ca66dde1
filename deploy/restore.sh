#!/bin/sh
# `make restore FROM=folder`: puts what `make backup` wrote in the place of what the containers keep, and starts them.
set -eu
cd "$(dirname "$0")/.."
. deploy/environment.sh

: "${FROM:?Say which backup: make restore FROM=backups/...}"
docker compose up --detach --wait --no-deps postgres
docker compose stop gateway-1 gateway-2 store-1 store-2
docker compose exec -T --env PGUSER=bobbin --env PGDATABASE=bobbin postgres \
    sh -c "$(cat deploy/database/load.sh)" <"$FROM/database"
docker compose run --rm --no-deps -T gateway-1 tar -C /data -xf - <"$FROM/attachments.tar"
docker compose up --detach --wait
