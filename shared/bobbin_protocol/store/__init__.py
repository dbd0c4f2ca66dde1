"""The thread store's HTTP API: what goes in and what comes out, for both sides of the wire.

Every call carries ``Authorization: Bearer <service token>`` and the owner in ``Bobbin-Owner``.
Bodies are JSON or MessagePack (``Content-Type`` and ``Accept``), with the same schema.
"""

OWNER_HEADER = "Bobbin-Owner"
MSGPACK = "application/msgpack"
