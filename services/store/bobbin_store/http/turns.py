"""``/v1/turns``."""

from litestar import Response, get, post
from litestar.params import JSONBody

from bobbin_protocol.store.turns import (
    AddTurnItems,
    BeginAnswer,
    BeginTurn,
    CancelTurn,
    DesertTurn,
    FinishTurn,
    JoinTurn,
    TurnFinished,
    TurnRecord,
    TurnResult,
)
from bobbin_store.http.exchange import AnyRequest, Body, Owner, PathId, answer, database_of
from bobbin_store.turns import cancel, early, record, result
from bobbin_store.turns.begin import begin
from bobbin_store.turns.finish import finish


@post("/turns", dto=Body, return_dto=None, status_code=200)
async def begin_turn(request: AnyRequest, owner: Owner, data: JSONBody[BeginTurn]) -> Response[BeginAnswer]:
    """Do everything that must happen before an answer can start; repeats change nothing."""
    return answer(request, await begin(database_of(request), owner, data))


@post("/turns/{turn_id:str}/finish", dto=Body, return_dto=None, status_code=200)
async def finish_turn(
    request: AnyRequest, owner: Owner, turn_id: PathId, data: JSONBody[FinishTurn]
) -> Response[TurnFinished]:
    """Write the whole outcome of a turn; repeats change nothing."""
    return answer(request, await finish(database_of(request), owner, turn_id, data))


@post("/turns/{turn_id:str}/items", dto=Body, return_dto=None, status_code=204)
async def add_items(request: AnyRequest, owner: Owner, turn_id: PathId, data: JSONBody[AddTurnItems]) -> None:
    """Store items of a turn that runs, before its end; repeats change nothing."""
    await early.add(database_of(request), owner, turn_id, data)


@get("/turns/{turn_id:str}")
async def get_turn(request: AnyRequest, owner: Owner, turn_id: PathId) -> Response[TurnRecord]:
    """Say how a turn stands."""
    return answer(request, await record.get(database_of(request), owner, turn_id))


@get("/turns/{turn_id:str}/items")
async def get_result(request: AnyRequest, owner: Owner, turn_id: PathId) -> Response[TurnResult]:
    """Give what became of a turn: its thread and its visible items."""
    return answer(request, await result.get(database_of(request), owner, turn_id))


@post("/turns/{turn_id:str}/cancel", dto=Body, return_dto=None, status_code=200)
async def cancel_turn(
    request: AnyRequest, owner: Owner, turn_id: PathId, data: JSONBody[CancelTurn]
) -> Response[TurnRecord]:
    """Ask whoever runs the turn to stop it; changes nothing after its end."""
    return answer(request, await cancel.cancel(database_of(request), owner, turn_id, data))


@post("/turns/{turn_id:str}/desert", dto=Body, return_dto=None, status_code=200)
async def desert_turn(
    request: AnyRequest, owner: Owner, turn_id: PathId, data: JSONBody[DesertTurn]
) -> Response[TurnRecord]:
    """Note that the turn has lost its last reader, unless it has another; changes nothing after its end."""
    return answer(request, await cancel.desert(database_of(request), owner, turn_id, data))


@post("/turns/{turn_id:str}/join", dto=Body, return_dto=None, status_code=200)
async def join_turn(
    request: AnyRequest, owner: Owner, turn_id: PathId, data: JSONBody[JoinTurn]
) -> Response[TurnRecord]:
    """Note that someone reads the turn, also after its end."""
    return answer(request, await cancel.join(database_of(request), owner, turn_id, data))


ROUTES = [
    begin_turn,
    add_items,
    finish_turn,
    get_turn,
    get_result,
    cancel_turn,
    desert_turn,
    join_turn,
]
