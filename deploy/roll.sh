#!/bin/sh
# `make roll`: build anew what changed, and replace store and gateway one after the other. At every moment one of
# each serves, so that nobody notices: see "Rolling out" in docs/operations.md.
set -eu
cd "$(dirname "$0")/.."
. deploy/environment.sh
check_published
check_same_users

build
for service in $(services); do
    echo "$(date +%T) Replacing $service"
    docker compose up --detach --wait --no-deps --no-build --force-recreate "$service"
done
