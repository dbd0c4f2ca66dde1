#!/bin/sh
# `make up`: make what is secret, once, and start all of compose.yaml; says where the chat is.
set -eu
cd "$(dirname "$0")/.."
. deploy/environment.sh
check_published

secrets=$(setting SECRETS_DIR)
secrets=${secrets:-.secrets}
# The folder keeps others out; the files must be readable for the users of the containers.
mkdir -p "$secrets"
chmod 700 "$secrets"
for name in postgres_password store_token files_secret; do
    [ -s "$secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$secrets/$name"
    chmod 644 "$secrets/$name"
done
# So must what is mounted, whatever the umask of the checkout was. (Another's files are as they are.)
chmod -R a+rX deploy/proxies deploy/monitoring 2>/dev/null || true

build
docker compose up --detach --wait --remove-orphans --no-build
[ "${OPENAI_BASE_URL:-}" != http://demo-model:8080/v1 ] || echo "No OPENAI_API_KEY: answers come from the demo model."
echo
if address=$(docker compose port proxy 8080 2>/dev/null); then
    echo "Bobbin is ready: http://$address"
else # deploy/https.yaml
    echo "Bobbin is ready: https://$(docker compose exec -T proxy printenv SITE_ADDRESS)"
fi
