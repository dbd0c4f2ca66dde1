"""Chaos: users who talk while processes are killed, and an audit of what is left.

    python -m tests.chaos --kills 40               # the long form (make chaos): some minutes
    python -m tests.chaos --kills 40 --background  # answers that go on at the provider (BACKGROUND=1)
    python -m tests.chaos --kills 0 --leaves 1000  # nothing is killed, but connections are lost
    python -m tests.chaos --seed 7                 # the same dice again (though not the same timing)

Two gateways, each with a store of its own, and one PostgreSQL; as many users as are asked for, each with an
account of their own and several turns, who do what a good client does: an idempotency key on every message,
again and again on either gateway until it is answered; numbered events, resumed on either gateway until there
is nothing left. Every few seconds a random process gets kill -9 and is started again at once, as a supervisor
would; now and then another one stands still for longer than its lease lasts. Afterwards the audit compares
what the users saw with what PostgreSQL has.

`test_chaos.py` is the short form, for every test run.
"""
