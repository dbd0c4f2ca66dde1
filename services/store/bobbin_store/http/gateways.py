"""``/v1/gateways``: for turns of many owners at once, so without an owner in the header."""

from litestar import Response, post, put
from litestar.params import JSONBody

from bobbin_protocol.store.gateways import ClaimedTurns, ClaimTurns, LeaseRenewed, RenewLease
from bobbin_protocol.store.journal import JournalWritten, WriteJournal
from bobbin_store import claims, gateways, journal
from bobbin_store.http.exchange import AnyRequest, Body, PathId, answer, database_of


@put("/gateways/{gateway_id:str}", dto=Body, return_dto=None)
async def renew_lease(
    request: AnyRequest, gateway_id: PathId, data: JSONBody[RenewLease]
) -> Response[LeaseRenewed]:
    """Register a gateway or renew its lease; learn which of its turns to stop."""
    return answer(request, await gateways.renew(database_of(request), gateway_id, data))


@post("/gateways/{gateway_id:str}/claims", dto=Body, return_dto=None, status_code=200)
async def claim_turns(
    request: AnyRequest, gateway_id: PathId, data: JSONBody[ClaimTurns]
) -> Response[ClaimedTurns]:
    """Take over turns of gateways that died, and turns that were given up."""
    return answer(request, await claims.claim(database_of(request), gateway_id, data))


@post("/gateways/{gateway_id:str}/journal", dto=Body, return_dto=None, status_code=200)
async def write_journal(
    request: AnyRequest, gateway_id: PathId, data: JSONBody[WriteJournal]
) -> Response[JournalWritten]:
    """Write what all turns of a gateway produced; repeats change nothing."""
    return answer(request, await journal.write(database_of(request), gateway_id, data))


ROUTES = [renew_lease, claim_turns, write_journal]
