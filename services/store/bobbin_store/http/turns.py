"""``/v1/turns``."""

from litestar import Response, get, post
from litestar.params import JSONBody

from bobbin_protocol.store.turns import BeginTurn, FinishTurn, TurnBegun, TurnFinished, TurnRecord
from bobbin_store.http.exchange import AnyRequest, Body, Owner, PathId, answer, database_of
from bobbin_store.turns import record
from bobbin_store.turns.begin import begin
from bobbin_store.turns.finish import finish


@post("/turns", dto=Body, return_dto=None, status_code=200)
async def begin_turn(request: AnyRequest, owner: Owner, data: JSONBody[BeginTurn]) -> Response[TurnBegun]:
    """Do everything that must happen before an answer can start; repeats change nothing."""
    return answer(request, await begin(database_of(request), owner, data))


@post("/turns/{turn_id:str}/finish", dto=Body, return_dto=None, status_code=200)
async def finish_turn(
    request: AnyRequest, owner: Owner, turn_id: PathId, data: JSONBody[FinishTurn]
) -> Response[TurnFinished]:
    """Write the whole outcome of a turn; repeats change nothing."""
    return answer(request, await finish(database_of(request), owner, turn_id, data))


@get("/turns/{turn_id:str}")
async def get_turn(request: AnyRequest, owner: Owner, turn_id: PathId) -> Response[TurnRecord]:
    """Say how a turn stands."""
    return answer(request, await record.get(database_of(request), owner, turn_id))


ROUTES = [begin_turn, finish_turn, get_turn]
