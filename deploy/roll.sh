#!/bin/sh
# `make roll`: build anew what changed, and replace store and gateway one after the other. At every moment one of
# each serves, so that nobody notices: see "Rolling out" in docs/operations.md.
set -eu
cd "$(dirname "$0")/.."
. deploy/environment.sh

docker compose build
for service in store-1 store-2 gateway-1 gateway-2; do
    echo "$(date +%T) Replacing $service"
    docker compose up --detach --wait --no-deps --force-recreate "$service"
done
