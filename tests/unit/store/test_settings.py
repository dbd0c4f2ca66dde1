"""Settings: read once, every mistake named."""

from __future__ import annotations

import pytest

from bobbin_protocol.settings import BrokenSettings, read_settings, settings_table
from bobbin_store.settings import Settings

TOKEN = "0123456789abcdef"


def test_only_the_token_is_required() -> None:
    settings = read_settings(Settings, {"STORE_TOKEN": TOKEN})
    assert (settings.store_host, settings.store_port, settings.store_workers) == ("127.0.0.1", 8001, 1)
    assert (settings.database_url, settings.data_dir) == ("", ".data")
    assert settings.store_max_body_bytes == 16 * 1024 * 1024


def test_every_mistake_is_named_at_once_and_the_token_never_shown() -> None:
    secret = "too-short"
    with pytest.raises(BrokenSettings) as raised:
        read_settings(
            Settings,
            {
                "STORE_TOKEN": secret,
                "STORE_PORT": "70000",
                "STORE_WORKERS": "many",
                "DATABASE_URL": "mysql://x",
                "STORE_STATEMENT_TIMEOUT_S": "0",
            },
        )
    text = str(raised.value)
    for name in ["STORE_TOKEN", "STORE_PORT", "STORE_WORKERS", "DATABASE_URL", "STORE_STATEMENT_TIMEOUT_S"]:
        assert name in text
    assert secret not in text


def test_every_setting_says_what_it_means() -> None:
    for line in settings_table(Settings).splitlines()[2:]:
        _, name, _, meaning, _ = line.split("|")
        assert meaning.strip(), name


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        (
            "postgresql://bobbin@db/x?sslmode=require",
            "postgresql://bobbin:p%40%2F%3A%20@db/x?sslmode=require",
        ),
        ("postgresql://bobbin@one:5432,two:5432/x", "postgresql://bobbin:p%40%2F%3A%20@one:5432,two:5432/x"),
        ("postgresql:///x?host=/run&user=bobbin", "postgresql://:p%40%2F%3A%20@/x?host=/run&user=bobbin"),
    ],
)
def test_the_password_of_the_database_may_stand_by_itself(url: str, dsn: str) -> None:
    assert Settings(store_token=TOKEN, database_url=url, database_password="p@/: ").dsn == dsn
    assert Settings(store_token=TOKEN, database_url=dsn).dsn == dsn


def test_a_password_belongs_to_a_database_without_one() -> None:
    for url in ("", "postgresql://bobbin:other@db/x"):
        with pytest.raises(BrokenSettings, match="DATABASE_PASSWORD"):
            read_settings(Settings, {"STORE_TOKEN": TOKEN, "DATABASE_URL": url, "DATABASE_PASSWORD": "p"})


def test_workers_share_the_connections_out() -> None:
    settings = read_settings(Settings, {"STORE_TOKEN": TOKEN, "STORE_WORKERS": "3", "STORE_POOL_SIZE": "10"})
    assert settings.worker_pool_size == 3
    with pytest.raises(BrokenSettings, match="STORE_POOL_SIZE is smaller"):
        read_settings(Settings, {"STORE_TOKEN": TOKEN, "STORE_WORKERS": "3", "STORE_POOL_SIZE": "2"})


def test_metrics_have_a_port_of_their_own() -> None:
    ports = {"STORE_TOKEN": TOKEN, "STORE_PORT": "8001"}
    assert read_settings(Settings, ports | {"STORE_METRICS_PORT": "9464"})
    with pytest.raises(BrokenSettings, match="STORE_METRICS_PORT is the same"):
        read_settings(Settings, ports | {"STORE_METRICS_PORT": "8001"})
