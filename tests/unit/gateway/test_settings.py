"""The gateway's settings: which combinations start, and which do not."""

from __future__ import annotations

import pytest

from bobbin_gateway.settings import Settings
from bobbin_protocol.settings import BrokenSettings, read_settings

TOKEN = {"STORE_TOKEN": "a-token-of-enough-length"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_authentication_it_listens_on_loopback(host: str) -> None:
    assert read_settings(Settings, TOKEN | {"GATEWAY_HOST": host}).gateway_host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_authentication_it_listens_nowhere_else(host: str) -> None:
    with pytest.raises(BrokenSettings, match="ALLOW_ANONYMOUS"):
        read_settings(Settings, TOKEN | {"GATEWAY_HOST": host})


def test_unless_someone_else_guards_the_door() -> None:
    assert read_settings(Settings, TOKEN | {"GATEWAY_HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "1"})


def test_tokens_need_one_kind_of_key() -> None:
    secret, url = {"JWT_SECRET": "x" * 32}, {"JWT_JWKS_URL": "https://example.org/keys"}
    assert read_settings(Settings, TOKEN | {"AUTH": "jwt"} | secret)
    assert read_settings(Settings, TOKEN | {"AUTH": "jwt"} | url)
    for keys in ({}, secret | url):
        with pytest.raises(BrokenSettings, match="JWT_JWKS_URL"):
            read_settings(Settings, TOKEN | {"AUTH": "jwt"} | keys)


def test_models_on_offer_are_a_list() -> None:
    assert read_settings(Settings, TOKEN | {"MODELS": " a, b ,,c"}).offered_models == {"a", "b", "c"}


def test_only_responses_go_on_in_the_background() -> None:
    """Chat Completions has no such mode, and the operator is told so at once."""
    assert read_settings(Settings, TOKEN | {"BACKGROUND": "1"}).background
    with pytest.raises(BrokenSettings, match="no background mode"):
        read_settings(Settings, TOKEN | {"BACKGROUND": "1", "MODEL_API": "chat"})


def test_trusted_proxies_are_addresses_and_networks() -> None:
    good = "10.0.0.0/8, ::1,192.0.2.7"
    assert read_settings(Settings, TOKEN | {"TRUSTED_PROXIES": good}).trusted_proxies == good
    for bad in ("proxy.example.org", "10.0.0.1/8", "*"):
        with pytest.raises(BrokenSettings, match="TRUSTED_PROXIES"):
            read_settings(Settings, TOKEN | {"TRUSTED_PROXIES": f"192.0.2.7, {bad}"})


def test_metrics_have_a_port_of_their_own() -> None:
    ports = TOKEN | {"GATEWAY_PORT": "8000"}
    assert read_settings(Settings, ports | {"GATEWAY_METRICS_PORT": "9464"})
    with pytest.raises(BrokenSettings, match="GATEWAY_METRICS_PORT is the same"):
        read_settings(Settings, ports | {"GATEWAY_METRICS_PORT": "8000"})
