"""Who is calling: from the request's headers to the owner of the data."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import jwt
from litestar.connection import Request
from litestar.datastructures import State

from bobbin_gateway.settings import Settings, is_loopback, names

HttpRequest = Request[Any, Any, State]

LOCAL_OWNER = "local"
"""The one owner of everything under ``AUTH=none``."""


class Unauthorized(Exception):
    """The caller is not known, or its credentials are no longer good. The text is fit for the caller."""


class KeysUnavailable(Exception):
    """The keys that tokens are checked with cannot be fetched (``JWT_JWKS_URL``): no fault of the caller."""


class Authenticator(Protocol):
    """Finds the owner behind a request."""

    async def owner_of(self, request: HttpRequest) -> str:
        """The owner's id.

        Raises:
            Unauthorized: There is none.
            KeysUnavailable: Nobody can be let in right now.
        """
        ...


class Origins:
    """Which pages may use what a browser has by itself: cookies, or its place on this machine (CWE-352)."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(names(settings.allowed_origins))

    def check(self, request: HttpRequest) -> None:
        """Let pass what does not come from a page, comes from our own, or from one that is allowed.

        Raises:
            Unauthorized: It comes from another page.
        """
        origin = request.headers.get("origin")
        if origin is None and request.headers.get("sec-fetch-site") == "cross-site":
            raise Unauthorized("Another page may not load this")  # as an image, a script or the like
        if origin is None or origin in self._allowed:
            return
        if _split(origin).netloc != request.headers.get("host"):
            raise Unauthorized("Pages of this origin may not use this server (ALLOWED_ORIGINS)")


class Anonymous:
    """Everyone is the same local owner; `Settings` allows it on loopback only.

    There the request must be meant for this machine, too: a page can have its own name point here (DNS
    rebinding), and would then pass for one of ours.
    """

    def __init__(self, origins: Origins, *, guarded: bool) -> None:
        self._origins = origins
        self._guarded = guarded

    async def owner_of(self, request: HttpRequest) -> str:
        """The local owner."""
        host = _split(f"//{request.headers.get('host', '')}").hostname
        if not self._guarded and host is not None and not is_loopback(host):
            raise Unauthorized("Without sign-in this server answers to local names only")
        self._origins.check(request)
        return LOCAL_OWNER


class JsonWebToken:
    """The owner is the ``sub`` of a signed token, in a bearer header or an httpOnly cookie."""

    def __init__(self, settings: Settings, origins: Origins) -> None:
        self._settings = settings
        self._origins = origins
        self._keys = jwt.PyJWKClient(settings.jwt_jwks_url, timeout=5) if settings.jwt_jwks_url else None

    async def owner_of(self, request: HttpRequest) -> str:
        """The token's subject."""
        claims = await self._claims(self._token(request))
        owner_id = claims.get("sub")
        if not isinstance(owner_id, str) or not _is_owner_id(owner_id):
            raise Unauthorized("The token names no subject")
        return owner_id

    def _token(self, request: HttpRequest) -> str:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and credentials:
            return credentials.strip()
        cookie = request.cookies.get(self._settings.jwt_cookie)
        if cookie is None:
            raise Unauthorized("Please sign in")
        self._origins.check(request)
        return cookie

    async def _claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        try:
            key, algorithms = await self._key(token)
            return jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=settings.jwt_audience or None,
                issuer=settings.jwt_issuer or None,
                options={"require": ["sub", "exp"], "verify_aud": bool(settings.jwt_audience)},
                leeway=_LEEWAY_S,
            )
        except jwt.PyJWKClientConnectionError as error:
            raise KeysUnavailable(str(error)) from error
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("The session has expired; please sign in again") from error
        except jwt.PyJWTError as error:
            raise Unauthorized("The token is not valid") from error

    async def _key(self, token: str) -> tuple[Any, list[str]]:
        if self._keys is None:
            return self._settings.jwt_secret, ["HS256"]
        # PyJWT fetches keys with blocking I/O, and keeps them
        key = await asyncio.to_thread(self._keys.get_signing_key_from_jwt, token)
        return key, ["RS256", "ES256", "EdDSA"]


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise Unauthorized("The header Host or Origin is malformed") from error


_LEEWAY_S = 30
"""How far clocks may differ."""
_MAX_OWNER_ID = 256


def _is_owner_id(text: str) -> bool:
    return 0 < len(text) <= _MAX_OWNER_ID and text.isprintable() and text.isascii() and text.strip() == text


def authenticator(settings: Settings) -> Authenticator:
    """The authenticator that ``AUTH`` asks for."""
    origins = Origins(settings)
    if settings.auth == "jwt":
        return JsonWebToken(settings, origins)
    return Anonymous(origins, guarded=settings.allow_anonymous)
