"""The gateway's settings, read once from the environment."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from bobbin_protocol.settings import SECRET
from bobbin_telemetry.logs import AccessLog, LogFormat, LogLevel


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting of the gateway; the variable has the field's name in capitals."""

    gateway_host: Annotated[str, Meta(description="Address to listen on")] = "127.0.0.1"
    gateway_port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on")] = 8000
    gateway_metrics_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Port of `GET /metrics` for Prometheus, on the same address; `0`: there is none",
        ),
    ] = 0
    gateway_workers: Annotated[int, Meta(ge=1, le=64, description="Worker processes")] = 1

    store_url: Annotated[
        str,
        Meta(
            pattern=r"^https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#:@\[\]]+)(:[0-9]{1,5})?(/[^\s?#]*)?\Z",
            description="Where the store is",
        ),
    ] = "http://127.0.0.1:8001"
    store_token: Annotated[str, Meta(min_length=16, description="The store's service token", extra=SECRET)]
    store_timeout_s: Annotated[float, Meta(gt=0, description="Longest wait for one call to the store, s")] = (
        10.0
    )
    store_retry_s: Annotated[
        float, Meta(ge=0, description="How long a finished answer waits for a store that is away, s")
    ] = 60.0

    auth: Annotated[
        Literal["none", "jwt"],
        Meta(description="Who the user is: `none`, one local owner; `jwt`, the `sub` of a JSON Web Token"),
    ] = "none"
    allow_anonymous: Annotated[
        bool,
        Meta(
            description="Allow `AUTH=none` on an address that is not loopback: someone else guards the door"
        ),
    ] = False
    jwt_secret: Annotated[
        str, Meta(description="`AUTH=jwt`: the HS256 secret, 32 bytes or more", extra=SECRET)
    ] = ""
    jwt_jwks_url: Annotated[str, Meta(description="`AUTH=jwt`: where the RS256, ES256 or EdDSA keys are")] = (
        ""
    )
    jwt_audience: Annotated[str, Meta(description="`AUTH=jwt`: required `aud`, when set")] = ""
    jwt_issuer: Annotated[str, Meta(description="`AUTH=jwt`: required `iss`, when set")] = ""
    jwt_cookie: Annotated[
        str, Meta(description="`AUTH=jwt`: the httpOnly cookie that may carry the token")
    ] = "session"
    allowed_origins: Annotated[
        str,
        Meta(
            description="Origins of the pages that may use the gateway, besides its own "
            "(`https://example.org`, comma separated)"
        ),
    ] = ""

    public_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/?#]+[^\s?#]*)?\Z",
            description="Where clients reach the gateway (`https://chat.example.org`), for URLs of files; "
            "empty: as each request names it",
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Proxies whose X-Forwarded-Proto and -Host count: addresses or networks "
            "(`10.0.0.0/8`, comma separated); empty: nobody's do"
        ),
    ] = ""
    data_dir: Annotated[str, Meta(min_length=1, description="Folder of the attachments' folder")] = ".data"
    attachments_url: Annotated[
        str,
        Meta(
            description="Where the bytes of attachments are kept, for all gateways: `file:///folder`, "
            "`s3://bucket/prefix`, `gs://`, `az://` (credentials as their own tools read them); empty: "
            "`attachments` in `DATA_DIR`"
        ),
    ] = ""
    attachment_max_bytes: Annotated[
        int, Meta(ge=0, le=1 << 30, description="Largest attachment, bytes (0: none are taken)")
    ] = 20_971_520
    attachment_types: Annotated[
        str, Meta(description="MIME types of attachments that are taken (comma separated; `image/*`)")
    ] = (
        "image/png,image/jpeg,image/gif,image/webp,application/pdf,text/*,application/json,"
        "application/msword,application/vnd.ms-excel,application/vnd.ms-powerpoint,"
        "application/vnd.openxmlformats-officedocument.*,application/vnd.oasis.opendocument.*"
    )
    attachment_keep_s: Annotated[
        float, Meta(gt=0, le=31_536_000, description="How long an attachment may wait for its message, s")
    ] = 86_400.0
    attachment_sweep_s: Annotated[
        float, Meta(gt=0, le=3600, description="How often a gateway looks for blobs to remove, s")
    ] = 60.0
    files_secret: Annotated[
        str,
        Meta(
            description="Secret that URLs of files are signed with, 16 characters or more; empty: derived "
            "from `STORE_TOKEN`. Another one makes the previews of old images fail",
            extra=SECRET,
        ),
    ] = ""
    upload_url_s: Annotated[
        float, Meta(gt=0, le=1800, description="How long an upload may begin after its announcement, s")
    ] = 900.0
    upload_timeout_s: Annotated[float, Meta(gt=0, le=1800, description="Longest upload, s")] = 600.0

    gateway_agent: Annotated[
        str, Meta(description="An agent of your own, `package.module:object`; empty: the built-in one")
    ] = ""
    openai_api_key: Annotated[str, Meta(description="As the openai package reads it", extra=SECRET)] = ""
    openai_base_url: Annotated[str, Meta(description="As the openai package reads it")] = ""
    model: Annotated[str, Meta(description="The model that answers")] = "gpt-5-mini"
    model_api: Annotated[
        Literal["responses", "chat"], Meta(description="Dialect: `responses` or `chat` (Chat Completions)")
    ] = "responses"
    background: Annotated[
        bool,
        Meta(
            description="`MODEL_API=responses`: make answers in OpenAI's background mode, so that another "
            "gateway goes on with them when this one dies; the provider keeps them for a while"
        ),
    ] = False
    models: Annotated[
        str,
        Meta(
            description="Models a client may choose by `inference_options.model` (comma separated; `*`: any)"
        ),
    ] = ""
    tool_choices: Annotated[
        str,
        Meta(
            description="Tools a client may choose by `inference_options.tool_choice` (comma separated; "
            "`*`: any)"
        ),
    ] = ""
    title_model: Annotated[
        str, Meta(description="Model that names threads; empty: the first words name them")
    ] = ""
    transcribe_model: Annotated[
        str, Meta(description="Model that writes down what users say; `off`: there is no dictation")
    ] = "gpt-4o-mini-transcribe"
    instructions: Annotated[str, Meta(description="System instructions of the built-in agent")] = (
        "You are a helpful assistant. Answer in Markdown."
    )
    history_items: Annotated[
        int, Meta(ge=1, le=1000, description="Most items of a thread that a model gets to see")
    ] = 200
    history_tokens: Annotated[
        int, Meta(ge=100, description="Most tokens of a thread that a model gets to see (estimated)")
    ] = 60_000

    model_options: Annotated[
        str,
        Meta(
            description="Further fields of each request to the model, a JSON object in the words of its API "
            '(`{"reasoning": {"effort": "low", "summary": "auto"}}`)',
            extra=SECRET,  # it may hold credentials
        ),
    ] = ""
    model_tools: Annotated[
        str,
        Meta(
            description="Tools that run at the provider, a JSON list in the words of its API "
            '(`[{"type": "web_search"}]`)',
            extra=SECRET,  # it may hold credentials
        ),
    ] = ""
    tool_timeout_s: Annotated[
        float,
        Meta(gt=0, description="Longest run of a tool's call, s; never longer than `SILENCE_TIMEOUT_S`"),
    ] = 30.0
    tool_rounds: Annotated[
        int, Meta(ge=1, le=1000, description="How often a model may call tools before its last word")
    ] = 16
    tool_output_bytes: Annotated[
        int, Meta(ge=256, description="Most bytes of a tool's result that a model gets to see")
    ] = 65_536
    mcp_config: Annotated[
        str, Meta(description="File that names the MCP servers whose tools the agent has; empty: none")
    ] = ""

    first_token_timeout_s: Annotated[
        float, Meta(gt=0, description="Longest wait for an agent's first event, s")
    ] = 60.0
    silence_timeout_s: Annotated[float, Meta(gt=0, description="Longest silence of an agent, s")] = 60.0
    turn_timeout_s: Annotated[float, Meta(gt=0, description="Longest turn, s")] = 120.0
    title_wait_s: Annotated[
        float, Meta(ge=0, description="How long a finished answer waits for its thread's title, s")
    ] = 2.0
    double_texting: Annotated[
        Literal["interrupt", "queue", "reject"],
        Meta(
            description="What a message does while its thread is being answered: "
            "`interrupt` (the answer so far is kept), `queue` (it waits) or `reject`"
        ),
    ] = "interrupt"
    queue_timeout_s: Annotated[
        float, Meta(gt=0, description="`DOUBLE_TEXTING=queue`: longest wait of a message, s")
    ] = 120.0
    begin_retry_s: Annotated[
        float, Meta(ge=0, description="How long a message waits for a store that is away, s")
    ] = 15.0
    resend_window_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="How long after the loss of a turn's last reader the same request means the same "
            "turn, s (0: never)",
        ),
    ] = 30.0
    lease_s: Annotated[
        float,
        Meta(ge=0.5, le=600, description="How long a gateway is silent before others take over its turns, s"),
    ] = 5.0
    journal_buffer_bytes: Annotated[
        int,
        Meta(ge=65_536, description="Most bytes of events that wait in memory for the store, per process"),
    ] = 67_108_864
    watch_interval_s: Annotated[
        float,
        Meta(gt=0, le=10, description="How often a gateway looks for what its readers follow elsewhere, s"),
    ] = 0.1
    drain_notice_s: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a gateway that is to stop takes new turns, though it says not ready, s",
        ),
    ] = 0.0
    cancel_grace_s: Annotated[
        float, Meta(ge=0, description="How long a turn outlives the loss of its last reader, s")
    ] = 0.0
    shutdown_grace_s: Annotated[
        float, Meta(ge=0, description="How long running turns may go on after a request to stop, s")
    ] = 10.0
    keepalive_s: Annotated[float, Meta(gt=0, description="Silence on a stream before a keep-alive, s")] = 15.0
    send_timeout_s: Annotated[
        float,
        Meta(
            gt=0, description="How long a reader may take in nothing of what is sent before it is let go, s"
        ),
    ] = 30.0
    max_output_bytes: Annotated[int, Meta(ge=1024, description="Largest answer, bytes of its events")] = (
        4_194_304
    )
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body, bytes")] = 2_097_152

    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    access_log: AccessLog = False

    def check(self) -> None:
        """Refuse combinations that are each fine alone.

        Raises:
            ValueError: One sentence per mistake.
        """
        mistakes: list[str] = []
        if self.auth == "none" and not self.allow_anonymous and not is_loopback(self.gateway_host):
            mistakes.append(
                f"AUTH=none is refused on GATEWAY_HOST={self.gateway_host}: anyone could read everything. "
                "Set AUTH=jwt, or ALLOW_ANONYMOUS=1 if someone else guards the door"
            )
        if self.auth == "jwt" and bool(self.jwt_secret) == bool(self.jwt_jwks_url):
            mistakes.append("AUTH=jwt needs either JWT_SECRET or JWT_JWKS_URL")
        if self.jwt_secret and len(self.jwt_secret.encode()) < _HS256_BYTES:
            mistakes.append(f"JWT_SECRET is shorter than {_HS256_BYTES} bytes")
        if self.files_secret and len(self.files_secret) < _SECRET_LENGTH:
            mistakes.append(f"FILES_SECRET is shorter than {_SECRET_LENGTH} characters")
        if self.background and self.model_api == "chat":
            mistakes.append(
                "BACKGROUND=1 is refused with MODEL_API=chat: Chat Completions has no background mode. "
                "Set MODEL_API=responses, or leave BACKGROUND out"
            )
        if self.gateway_metrics_port == self.gateway_port:
            mistakes.append("GATEWAY_METRICS_PORT is the same as GATEWAY_PORT: metrics need their own")
        mistakes += _bad_networks(names(self.trusted_proxies))
        for name, kind in (("MODEL_OPTIONS", dict[str, Any]), ("MODEL_TOOLS", list[dict[str, Any]])):
            try:
                msgspec.json.decode(getattr(self, name.lower()) or "null", type=kind | None)
            except msgspec.MsgspecError as error:
                mistakes.append(f"{name}: {error}")
        if mistakes:
            raise ValueError("\n".join(mistakes))

    @property
    def request_options(self) -> dict[str, Any]:
        """Further fields of each request to the model."""
        return msgspec.json.decode(self.model_options, type=dict[str, Any]) if self.model_options else {}

    @property
    def provider_tools(self) -> list[dict[str, Any]]:
        """Tools that run at the provider."""
        return msgspec.json.decode(self.model_tools, type=list[dict[str, Any]]) if self.model_tools else []

    @property
    def own_url(self) -> str:
        """Where clients reach the gateway, as far as it knows without having been asked."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.gateway_host, self.gateway_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.gateway_port}"

    @property
    def offered_models(self) -> frozenset[str]:
        """What a client may ask for by name."""
        return frozenset(names(self.models))

    def offers_model(self, name: str) -> bool:
        """Whether a client may choose this model."""
        return not self.offered_models.isdisjoint({name, "*"})

    def offers_tool_choice(self, name: str) -> bool:
        """Whether a client may choose this tool."""
        return not {name, "*"}.isdisjoint(names(self.tool_choices))


_SECRET_LENGTH = 16
_HS256_BYTES = 32
"""RFC 7518, section 3.2: a key as long as the hash, or longer."""


def names(text: str) -> list[str]:
    """The entries of a comma-separated list."""
    return [name for part in text.split(",") if (name := part.strip())]


def _bad_networks(networks: list[str]) -> list[str]:
    """What is wrong with each of `TRUSTED_PROXIES`."""
    mistakes: list[str] = []
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            mistakes.append(f"TRUSTED_PROXIES: {error}")
    return mistakes


@lru_cache(maxsize=16)
def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
