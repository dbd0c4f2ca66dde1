"""Requests: the bodies of ``POST /chatkit`` (reference: ``types.py``, "REQUEST TYPES"), and their decoder.

Limits beyond the reference are those a database and a log need: ids are short and plain (``Id``), titles and
file names are bounded and free of NUL. The size of the body is limited by whoever reads it.
"""

import base64
import binascii
import re
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeGuard

import msgspec
from msgspec import Meta

from bobbin_protocol.actions import Action
from bobbin_protocol.ids import Id
from bobbin_protocol.items import InferenceOptions, UserMessageContent
from bobbin_protocol.structured_input import StructuredInputSubmission
from bobbin_protocol.wire import Wire, always

Order: TypeAlias = Literal["asc", "desc"]
Limit: TypeAlias = Annotated[int, Meta(ge=0)]
"""How many at most; 0 means the server's default, as in the reference, and the server caps it."""
Title: TypeAlias = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*\Z")]
"""Up to 500 characters, none of them NUL (which PostgreSQL can't keep)."""
FileName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[^\x00]*\Z")]
MimeType: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]*\Z")]
FeedbackKind: TypeAlias = Literal["positive", "negative"]


class BaseReq(Wire):
    metadata: dict[str, Any] = always(dict)
    """Anything the page around the chat adds."""


class UserMessageInput(Wire):
    """A message as the user sends it. The reference requires all but the quote, we only the content."""

    content: list[UserMessageContent]
    attachments: list[Id] = always(list)
    quoted_text: str | None = None
    inference_options: InferenceOptions = always(InferenceOptions)


class ThreadGetByIdParams(Wire):
    thread_id: Id


class ThreadsGetByIdReq(BaseReq, tag="threads.get_by_id"):
    params: ThreadGetByIdParams


class ThreadCreateParams(Wire):
    input: UserMessageInput


class ThreadsCreateReq(BaseReq, tag="threads.create"):
    params: ThreadCreateParams


class ThreadListParams(Wire):
    limit: Limit | None = None
    order: Order = always("desc")
    after: Id | None = None


class ThreadsListReq(BaseReq, tag="threads.list"):
    params: ThreadListParams


class ThreadAddUserMessageParams(Wire):
    input: UserMessageInput
    thread_id: Id


class ThreadsAddUserMessageReq(BaseReq, tag="threads.add_user_message"):
    params: ThreadAddUserMessageParams


class ThreadAddClientToolOutputParams(Wire):
    thread_id: Id
    result: Any = None


class ThreadsAddClientToolOutputReq(BaseReq, tag="threads.add_client_tool_output"):
    """The output of the thread's pending client tool call."""

    params: ThreadAddClientToolOutputParams


class ThreadAddStructuredInputParams(Wire):
    thread_id: Id
    item_id: Id
    input: StructuredInputSubmission


class ThreadsAddStructuredInputReq(BaseReq, tag="threads.add_structured_input"):
    params: ThreadAddStructuredInputParams


class ThreadCustomActionParams(Wire):
    thread_id: Id
    item_id: Id | None = None
    """The widget item that sent it; absent when the page did."""
    action: Action


class ThreadsCustomActionReq(BaseReq, tag="threads.custom_action"):
    params: ThreadCustomActionParams


class ThreadsSyncCustomActionReq(BaseReq, tag="threads.sync_custom_action"):
    params: ThreadCustomActionParams


class ThreadRetryAfterItemParams(Wire):
    thread_id: Id
    item_id: Id
    """A user message; what follows it is dropped and answered anew."""


class ThreadsRetryAfterItemReq(BaseReq, tag="threads.retry_after_item"):
    params: ThreadRetryAfterItemParams


class ItemFeedbackParams(Wire):
    thread_id: Id
    item_ids: Annotated[list[Id], Meta(max_length=1000)]
    kind: FeedbackKind


class ItemsFeedbackReq(BaseReq, tag="items.feedback"):
    params: ItemFeedbackParams


class AttachmentDeleteParams(Wire):
    attachment_id: Id


class AttachmentsDeleteReq(BaseReq, tag="attachments.delete"):
    params: AttachmentDeleteParams


class AttachmentCreateParams(Wire):
    name: FileName
    size: Annotated[int, Meta(ge=0)]
    """In bytes."""
    mime_type: Annotated[str, Meta(max_length=255, pattern=r"^[\x20-\x7e]*\Z")]
    """Empty where the browser knows none, as for ``.md``."""


class AttachmentsCreateReq(BaseReq, tag="attachments.create"):
    params: AttachmentCreateParams


class InputTranscribeParams(Wire):
    audio_base64: str
    mime_type: MimeType
    """With parameters, such as ``audio/webm;codecs=opus``."""


class InputTranscribeReq(BaseReq, tag="input.transcribe"):
    params: InputTranscribeParams


class ItemsListParams(Wire):
    thread_id: Id
    limit: Limit | None = None
    order: Order = always("desc")
    after: Id | None = None


class ItemsListReq(BaseReq, tag="items.list"):
    params: ItemsListParams


class ThreadUpdateParams(Wire):
    thread_id: Id
    title: Title


class ThreadsUpdateReq(BaseReq, tag="threads.update"):
    params: ThreadUpdateParams


class ThreadDeleteParams(Wire):
    thread_id: Id


class ThreadsDeleteReq(BaseReq, tag="threads.delete"):
    params: ThreadDeleteParams


StreamingReq: TypeAlias = (
    ThreadsCreateReq
    | ThreadsAddUserMessageReq
    | ThreadsAddClientToolOutputReq
    | ThreadsAddStructuredInputReq
    | ThreadsRetryAfterItemReq
    | ThreadsCustomActionReq
)
"""Answered by a stream of events."""

NonStreamingReq: TypeAlias = (
    ThreadsGetByIdReq
    | ThreadsListReq
    | ItemsListReq
    | ItemsFeedbackReq
    | AttachmentsCreateReq
    | AttachmentsDeleteReq
    | ThreadsUpdateReq
    | ThreadsDeleteReq
    | InputTranscribeReq
    | ThreadsSyncCustomActionReq
)
"""Answered by one JSON document."""

ChatKitReq: TypeAlias = StreamingReq | NonStreamingReq


def is_streaming(request: ChatKitReq) -> TypeGuard[StreamingReq]:
    return isinstance(request, StreamingReq)


class AudioInput(Wire):
    """Speech to transcribe, as an agent gets it."""

    data: bytes
    mime_type: str
    """With parameters, such as ``audio/webm;codecs=opus``."""

    @property
    def media_type(self) -> str:
        """The MIME type without its parameters."""
        return self.mime_type.split(";", 1)[0]


class InvalidRequest(Exception):
    """The caller sent a body that is no ChatKit request.

    Attributes:
        message: what is wrong, in words fit for the caller.
        field: where, as a path such as ``params.input.content[0].text``; None for the body as a whole.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message if field is None else f"{message} (at {field})")
        self.message = message
        self.field = field


_decode = msgspec.json.Decoder(ChatKitReq).decode

_PLACE: Final = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>(?:key in )?\$.*)`)?\Z", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]+)`\Z")


def decode_request(body: bytes) -> ChatKitReq:
    """Decode the body of a request.

    Raises:
        InvalidRequest: it is no JSON, or no request this server knows, or a value in it is not allowed.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply") from error


def _invalid(text: str) -> InvalidRequest:
    place = _PLACE.match(text)
    assert place is not None  # noqa: S101 (the pattern matches any text)
    message = place["what"]
    path = (place["path"] or "").removeprefix("key in ").removeprefix("$").removeprefix(".")
    if missing := _MISSING.match(message):
        path = f"{path}.{missing['name']}" if path else missing["name"]
    return InvalidRequest(message, path or None)


def decode_audio(params: InputTranscribeParams) -> AudioInput:
    """Decode the recording of a transcription request.

    Raises:
        InvalidRequest: the audio is not base64.
    """
    try:
        data = base64.b64decode(params.audio_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("Expected base64", "params.audio_base64") from error
    return AudioInput(data=data, mime_type=params.mime_type)
