#!/bin/sh
# Makes up the demo's secrets, once: the database keeps the password that it was made with.
set -eu
cd "$(dirname "$0")"
umask 077

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ -e postgres.secret.env ]; then
    exit 0
fi
token=$(random) password=$(random)
printf 'STORE_TOKEN=%s\nFILES_SECRET=%s\n' "$token" "$(random)" >gateway.secret.env
printf 'STORE_TOKEN=%s\nDATABASE_URL=postgresql://bobbin:%s@bobbin-postgres:5432/bobbin\n' "$token" "$password" >store.secret.env
printf 'POSTGRES_PASSWORD=%s\n' "$password" >postgres.secret.env
