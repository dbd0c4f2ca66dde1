"""``/v1/threads/{thread_id}/feedback``."""

from litestar import Response, get, post
from litestar.params import JSONBody

from bobbin_protocol.store.feedback import Feedback, NewFeedback
from bobbin_store import feedback
from bobbin_store.http.exchange import AnyRequest, Body, Owner, PathId, answer, database_of


@post("/threads/{thread_id:str}/feedback", dto=Body, return_dto=None, status_code=204)
async def put_feedback(
    request: AnyRequest, owner: Owner, thread_id: PathId, data: JSONBody[NewFeedback]
) -> None:
    """Note one opinion on several items."""
    await feedback.put(database_of(request), owner, thread_id, data)


@get("/threads/{thread_id:str}/feedback")
async def list_feedback(request: AnyRequest, owner: Owner, thread_id: PathId) -> Response[list[Feedback]]:
    """Give all opinions in a thread, in the order of its items."""
    return answer(request, await feedback.in_thread(database_of(request), owner, thread_id))


ROUTES = [put_feedback, list_feedback]
