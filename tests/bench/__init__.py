"""What Bobbin costs beside the reference stack and beside a ceiling, measured in one run on one machine.

`python -m tests.bench` (`make bench`) starts three servers and loads them one at a time, in turn:

reference
    openai-chatkit, the Agents SDK, FastAPI, uvicorn and an asyncpg store (`tests.reference`).
ours
    The gateway and the store.
ceiling
    Granian and a bare ASGI application that writes ready-made ChatKit bytes: no model, no database.

The first two share a model server and a PostgreSQL (a database each, durable as by default). CPU time is the
measure, since it does not depend on what else the machine does; where time is measured it is told so.
"""
