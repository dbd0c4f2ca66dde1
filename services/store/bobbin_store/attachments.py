"""Attachments: what is known about uploaded files. Their bytes are kept elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bobbin_protocol.attachments import Attachment
from bobbin_protocol.ids import Id
from bobbin_protocol.wire import encode_json
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import Conflict, InvalidRequest, NotFound

decode_attachment = msgspec.json.Decoder[Attachment](Attachment).decode

# Make an attachment's entry.
CREATE = """
INSERT INTO attachments (owner_id, id, thread_id, data) VALUES ($1, $2, $3, $4)
RETURNING thread_id, data
"""

# The same; an entry that is there already is replaced, and stays with its thread.
PUT = """
INSERT INTO attachments AS old (owner_id, id, thread_id, data) VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT attachments_pkey DO UPDATE
SET thread_id = coalesce(excluded.thread_id, old.thread_id), data = excluded.data
RETURNING thread_id, data
"""


async def create(database: Database, owner: str, attachment: Attachment) -> Attachment:
    """Keep an attachment's entry.

    Raises:
        Conflict: The id is taken.
        NotFound: It names a thread that is not there.
    """
    return await _write(database, CREATE, owner, attachment)


async def put(database: Database, owner: str, attachment_id: str, attachment: Attachment) -> Attachment:
    """Keep an attachment's entry, in place of an earlier one.

    Raises:
        InvalidRequest: It has another id.
        NotFound: It names a thread that is not there.
    """
    if attachment.id != attachment_id:
        raise InvalidRequest("The attachment has another id than the path", field="$.id")
    return await _write(database, PUT, owner, attachment)


async def _write(database: Database, statement: str, owner: str, attachment: Attachment) -> Attachment:
    check_id(attachment.id, "$.id")
    if attachment.thread_id is not None:
        check_id(attachment.thread_id, "$.thread_id")
    async with database.session(owner) as session:
        row = await session.fetchrow(
            statement, owner, attachment.id, attachment.thread_id, encode_json(attachment)
        )
    assert row is not None  # noqa: S101 (both statements return their row or raise)
    return attachment_of(row)


# One attachment.
GET = "SELECT thread_id, data FROM attachments WHERE owner_id = $1 AND id = $2"


async def get(database: Database, owner: str, attachment_id: str) -> Attachment:
    """Give an attachment's entry.

    Raises:
        NotFound: There is no such attachment.
    """
    async with database.session(owner) as session:
        row = await session.fetchrow(GET, owner, attachment_id)
    if row is None:
        raise not_found()
    return attachment_of(row)


# One attachment, kept from other writers until the transaction ends.
LOCK = "SELECT thread_id, data FROM attachments WHERE owner_id = $1 AND id = $2 FOR NO KEY UPDATE"

# Its bytes have come.
COMPLETE = "UPDATE attachments SET data = $3, touched_at = now() WHERE owner_id = $1 AND id = $2"


async def complete(database: Database, owner: str, attachment_id: str) -> Attachment:
    """Note that an attachment's bytes have come: it needs no upload any more. Safe to repeat.

    Raises:
        NotFound: There is no such attachment (any more).
    """
    async with database.transaction(owner) as session:
        row = await session.fetchrow(LOCK, owner, attachment_id)
        if row is None:
            raise not_found()
        attachment = attachment_of(row)
        attachment.upload_descriptor = None
        await session.execute(COMPLETE, owner, attachment_id, encode_json(attachment))
    return attachment


# Remove one attachment's entry; a trigger puts its blob on the list of those to remove.
DELETE = "DELETE FROM attachments WHERE owner_id = $1 AND id = $2 RETURNING id"


async def delete(database: Database, owner: str, attachment_id: str) -> None:
    """Forget an attachment. Messages that carry it keep what they say about it.

    Raises:
        NotFound: There is no such attachment.
    """
    async with database.session(owner) as session:
        if await session.fetchval(DELETE, owner, attachment_id) is None:
            raise not_found()


# Several attachments. Those that were about to be forgotten have time again, to get their message.
FIND = """
UPDATE attachments SET touched_at = now() WHERE owner_id = $1 AND id = ANY ($2::text[])
RETURNING id, thread_id, data
"""


async def find(
    session: Session, owner: str, attachment_ids: Sequence[str], thread_id: str
) -> list[Attachment]:
    """Give the attachments for a message of a thread, in this order, as that thread's.

    Raises:
        NotFound: One is not there.
        InvalidRequest: The bytes of one have not come.
        Conflict: One has been sent in another thread, and goes with that.
    """
    rows = await session.fetch(FIND, owner, attachment_ids)
    found = {row["id"]: attachment_of(row) for row in rows}
    for wanted in attachment_ids:
        attachment = found.get(wanted)
        if attachment is None:
            raise NotFound(f"There is no attachment {wanted}", field="$.input.attachment_ids")
        if attachment.upload_descriptor is not None:
            raise InvalidRequest(
                f"The file {attachment.name!r} has not been uploaded", field="$.input.attachment_ids"
            )
        if attachment.thread_id not in {None, thread_id}:
            raise Conflict(f"The file {attachment.name!r} belongs to another conversation: attach it again")
    return [msgspec.structs.replace(found[wanted], thread_id=thread_id) for wanted in attachment_ids]


def attachment_of(row: Row) -> Attachment:
    """Decode an entry; the column knows better than the document which thread has it."""
    return msgspec.structs.replace(decode_attachment(row["data"]), thread_id=row["thread_id"])


def check_id(value: str, field: str) -> None:
    """Refuse what is no id.

    Raises:
        InvalidRequest: It is too long, empty, or holds characters that ids never have.
    """
    try:
        msgspec.convert(value, Id)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error), field=field) from error


def not_found() -> NotFound:
    return NotFound("There is no such attachment", field="attachment_id")
