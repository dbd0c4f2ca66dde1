#!/bin/sh
# Writes what the store keeps to standard output, as pg_dump's archive; which database, the usual PG... variables
# say. The role must be a superuser or have BYPASSRLS: to any other, policies would show no row, and pg_dump fails.
#
# Without the changes that live feeds tell of: they are known by transactions of this server, and mean nothing to
# another. Whoever reads a feed begins anew after a restore.
set -eu
exec pg_dump --format=custom --schema=bobbin --exclude-table-data='bobbin.changes_[0-9]*'
