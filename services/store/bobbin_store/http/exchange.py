"""What every route shares: who calls, in whose name, and bodies as JSON or MessagePack."""

import hmac
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO
from litestar.exceptions import ClientException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import HTTPReceiveMessage, Receive, Scope, Send

from bobbin_protocol.requests import Order
from bobbin_protocol.store import MSGPACK, OWNER_HEADER
from bobbin_protocol.wire import encode_json
from bobbin_store.database import Database
from bobbin_store.errors import InvalidRequest, Unauthorized, UnsupportedMediaType
from bobbin_store.settings import Settings

T = TypeVar("T")

AnyRequest: TypeAlias = Request[Any, Any, Any]
AnyConnection: TypeAlias = ASGIConnection[Any, Any, Any, Any]

JSON: Final = "application/json"
ID_PATTERN: Final = r"^[A-Za-z0-9_.:\-]+\Z"

Owner: TypeAlias = Annotated[
    str,
    HeaderParameter(
        name=OWNER_HEADER,
        min_length=1,
        max_length=256,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z",
        description="In whose name: 1 to 256 printable ASCII characters, the first and the last no space.",
    ),
]
PathId: TypeAlias = Annotated[
    str, PathParameter(min_length=1, max_length=128, pattern=ID_PATTERN, description="An id.")
]
Cursor: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        min_length=1, max_length=128, pattern=ID_PATTERN, description="The page begins behind this id."
    ),
]
Limit: TypeAlias = Annotated[
    int, QueryParameter(ge=0, description="Page size: 0 means 20, more than 100 means 100.")
]
PageOrder: TypeAlias = Annotated[Order, QueryParameter(description="Oldest or newest first.")]
Hidden: TypeAlias = Annotated[bool, QueryParameter(description="Items that never reach a client, too.")]


def database_of(request: AnyRequest) -> Database:
    return cast("Database", request.app.state.database)


async def require_token(request: AnyRequest) -> None:
    """Let in who shows the service token.

    It runs before each request of `/v1`, not as a guard: Litestar copies the handler for each guard it calls.

    Raises:
        Unauthorized: Anyone else.
    """
    settings = cast("Settings", request.app.state.settings)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), settings.store_token.encode()):
        raise Unauthorized("The service token is missing or wrong")


encode_msgpack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


def answer(request: AnyRequest, value: T, status: int = 200) -> Response[T]:
    """Encode the value as the caller prefers: MessagePack if `Accept` names it, else JSON.

    Items may hold whole numbers that MessagePack has no form for (above 64 bits): then it is JSON after all.
    """
    if MSGPACK in request.headers.get("accept", ""):
        with suppress(OverflowError):
            return Encoded(encode_msgpack(value), MSGPACK, status)
    return Encoded(encode_json(value), JSON, status)


class Encoded(Response[Any]):
    """A response that is ready as it stands: nothing of other layers is merged in."""

    def __init__(self, body: bytes, media_type: str, status: int) -> None:
        self._body = body
        self._status = status
        self._headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """Be the ASGI application that Litestar wants; all that it does is to call it."""
        return cast("ASGIResponse", self._serve)

    async def _serve(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


class StoreRequest(Request[Any, Any, Any]):
    """Reads its body in one loop: the framework's two generators cost more than to decode it."""

    async def body(self) -> bytes:
        """Read the whole body; once, as routes do.

        Raises:
            RequestEntityTooLarge: It is larger than the store allows.
            ClientException: The caller left meanwhile.
        """
        limit = cast("Settings", self.app.state.settings).store_max_body_bytes
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = cast("HTTPReceiveMessage", await self.receive())
            if message["type"] == "http.disconnect":
                raise ClientException("The request was cut off")
            chunks.append(message["body"])
            size += len(message["body"])
            if size > limit:
                raise RequestEntityTooLarge
            more = message["more_body"]
        return b"".join(chunks)


class Body(AbstractDTO[Any]):
    """Decodes the argument `data` of a route in one step, from JSON or MessagePack as `Content-Type` says.

    A DTO is where Litestar hands over the raw bytes; nothing is transferred here.
    """

    asgi_connection: AnyConnection

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Do without a transfer model."""

    @classmethod
    def create_openapi_schema(cls, field_definition: Any, handler_id: str, schema_creator: Any) -> Any:  # noqa: ARG003 (Litestar's signature)
        return schema_creator.for_field_definition(field_definition)

    def decode_bytes(self, value: bytes) -> Any:
        connection = self.asgi_connection
        data = connection.route_handler.parsed_fn_signature.parameters["data"]
        return decode_body(value, connection.headers.get("content-type", JSON), data.annotation)


def decode_body(body: bytes, content_type: str, kind: Any) -> Any:
    """Decode a body.

    Raises:
        UnsupportedMediaType: It is neither JSON nor MessagePack.
        InvalidRequest: It is malformed, or not of this kind.
    """
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            decoder = json_decoder(kind)
        case "application/msgpack":
            decoder = msgpack_decoder(kind)
        case other:
            raise UnsupportedMediaType(f"Send {JSON} or {MSGPACK}, not {other or 'an unnamed format'}")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise InvalidRequest(message, field=place.strip("`") or "$") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidRequest(f"Malformed body: {error}", field="$") from error


@cache
def json_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def msgpack_decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)
