# For the scripts beside it: what compose.yaml needs to know in the environment, and what several of them ask.

# A setting as compose finds it: in the environment, else in the file .env.
setting() {
    printenv "$1" ||
        sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1 | sed "s/ #.*//; s/ *\$//; s/^\(['\"]\)\(.*\)\1\$/\2/"
}

refuse() {
    echo "$1" >&2
    exit 1
}

if [ -z "$(setting OPENAI_API_KEY)$(setting OPENAI_API_KEY_FILE)$(setting OPENAI_BASE_URL)" ]; then
    model=$(setting MODEL) profiles=$(setting COMPOSE_PROFILES)
    export OPENAI_API_KEY=demo OPENAI_BASE_URL=http://demo-model:8080/v1 MODEL="${model:-demo}"
    export COMPOSE_PROFILES="${profiles:+$profiles,}demo"
fi
# Who looks at metrics wants traces, too.
case ",$(setting COMPOSE_PROFILES)," in
*,metrics,*)
    endpoint=$(setting OTEL_EXPORTER_OTLP_ENDPOINT)
    export OTEL_EXPORTER_OTLP_ENDPOINT="${endpoint:-http://otel-collector:4318}"
    ;;
esac

# Stores, then gateways.
services() {
    docker compose config --services | grep -E '^(store|gateway)-' | sort -r
}

# Our images, from what is in the folder. Who gives one another name has it already.
build() {
    ours=
    [ -n "$(setting STORE_IMAGE)" ] || ours=store-1
    [ -n "$(setting GATEWAY_IMAGE)" ] || ours="$ours gateway-1"
    [ -z "$ours" ] || docker compose build $ours
}

# Other machines may come in without signing in only if somebody has said so.
check_published() {
    case $(setting PUBLISH) in
    "" | 127.* | localhost:* | "[::1]:"*) return ;;
    esac
    [ "$(setting AUTH)" = jwt ] || [ -n "$(setting ALLOW_ANONYMOUS)" ] || refuse \
        "PUBLISH=$(setting PUBLISH) lets others in without signing in: set AUTH=jwt, or ALLOW_ANONYMOUS=1 if someone else guards the door"
}

# What is replaced must not let in others than before, because a setting was given to `make up` alone.
check_same_users() {
    for service in $(services | grep '^gateway-'); do
        containers=$(docker compose ps --all --quiet "$service")
        [ -n "$containers" ] || continue
        before=$(docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' $containers | _users)
        now=$(docker compose config "$service" | _users)
        [ "$before" = "$now" ] || refuse \
            "$service has $(echo $before), and would get $(echo $now): settings belong in .env; \`make up\` changes these"
    done
}

_users() {
    grep -E '^ *(AUTH|ALLOW_ANONYMOUS)[:=]' | tr : = | tr -d ' "' | sort -u
}

# The scripts for backups know the database of compose.yaml only.
check_own_database() {
    case $(setting DATABASE_URL) in
    "" | *@postgres[:/]*) ;;
    *) refuse "DATABASE_URL is another database than that of compose.yaml: see \"Backup and restore\" in docs/operations.md" ;;
    esac
}
