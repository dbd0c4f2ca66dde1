# For the scripts beside it: what compose.yaml needs to know in the environment.

is_set() {
    printenv "$1" >/dev/null || grep -Eqs "^$1=." .env
}
if ! is_set OPENAI_API_KEY && ! is_set OPENAI_BASE_URL; then
    export OPENAI_API_KEY=demo OPENAI_BASE_URL=http://demo-model:8080/v1 MODEL="${MODEL:-demo}"
    export COMPOSE_PROFILES="${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}demo"
fi
# Who looks at metrics wants traces, too.
case ",${COMPOSE_PROFILES:-}," in
*,metrics,*) export OTEL_EXPORTER_OTLP_ENDPOINT="${OTEL_EXPORTER_OTLP_ENDPOINT:-http://otel-collector:4318}" ;;
esac
