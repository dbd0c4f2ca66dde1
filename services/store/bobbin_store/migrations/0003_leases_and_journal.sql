-- Leases, the journal of running turns, and the changes that live feeds tell of.

-- A gateway process and its lease, for all its turns. It is nobody's data, so it has no owner.
CREATE TABLE gateways (
    id text COLLATE "C" PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    dead boolean NOT NULL DEFAULT false
);

COMMENT ON COLUMN gateways.dead IS 'Declared dead by another gateway, for ever: what it still writes is refused.';

ALTER TABLE turns
    ADD COLUMN gateway_id text COLLATE "C",
    ADD COLUMN event_count bigint,
    ADD COLUMN checkpoint bytea,
    ADD COLUMN cancel_requested boolean NOT NULL DEFAULT false,
    ADD COLUMN discarded boolean NOT NULL DEFAULT false,
    ADD COLUMN deserted_at timestamptz,
    ADD COLUMN joined_by text COLLATE "C",
    ADD COLUMN idempotency_key text COLLATE "C",
    ADD COLUMN fingerprint bytea;

COMMENT ON COLUMN turns.gateway_id IS 'Whose lease the turn is under; null once it has ended, or if it never had one.';
COMMENT ON COLUMN turns.discarded IS 'A retry has removed the place of the turn: what it still says is not stored.';
COMMENT ON COLUMN turns.deserted_at IS 'When the turn last lost its last reader before its end.';
COMMENT ON COLUMN turns.joined_by IS 'The id in the begin that has joined the turn since: so the turn is deserted no more.';

CREATE INDEX turns_leased ON turns (gateway_id) WHERE gateway_id IS NOT NULL;
CREATE UNIQUE INDEX turns_by_key ON turns (owner_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX turns_deserted ON turns (owner_id, fingerprint, deserted_at) WHERE deserted_at IS NOT NULL;

-- The journal and the changes are kept for 10 minutes at least. Each lies in one of three slots, by the time it was
-- written; a slot is emptied as a whole (TRUNCATE) before its turn comes again, which costs the same for any number
-- of rows. `journal_slot` is the one to write to.

CREATE FUNCTION journal_slot(moment timestamptz DEFAULT now()) RETURNS smallint
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT (floor(extract(epoch FROM moment) / 600)::bigint % 3)::smallint $$;

CREATE TABLE journal (
    slot smallint NOT NULL DEFAULT journal_slot(),
    owner_id text COLLATE "C" NOT NULL,
    turn_id text COLLATE "C" NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (owner_id, turn_id, first, slot)
) PARTITION BY LIST (slot);

CREATE TABLE journal_0 PARTITION OF journal FOR VALUES IN (0);
CREATE TABLE journal_1 PARTITION OF journal FOR VALUES IN (1);
CREATE TABLE journal_2 PARTITION OF journal FOR VALUES IN (2);

-- A change is found by the transaction that made it: a reader takes those of transactions that are older than every
-- one still open, and so misses none that commits late. (Numbers from a sequence alone are not committed in order.)

CREATE SEQUENCE changes_id;

CREATE TABLE changes (
    slot smallint NOT NULL DEFAULT journal_slot(),
    owner_id text COLLATE "C" NOT NULL,
    transaction bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    id bigint NOT NULL DEFAULT nextval('changes_id'),
    thread_id text COLLATE "C" NOT NULL,
    turn_id text COLLATE "C",
    event bytea,
    PRIMARY KEY (owner_id, transaction, id, slot)
) PARTITION BY LIST (slot);

CREATE TABLE changes_0 PARTITION OF changes FOR VALUES IN (0);
CREATE TABLE changes_1 PARTITION OF changes FOR VALUES IN (1);
CREATE TABLE changes_2 PARTITION OF changes FOR VALUES IN (2);

-- A gateway's calls are for the turns of many owners at once: they are made in the name of ' every owner', which no
-- owner can have (a name does not begin with a space). Threads, items, attachments and feedback know no such name.

ALTER TABLE journal ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

DROP POLICY own_rows ON turns;
CREATE POLICY own_rows ON turns USING (
    CASE WHEN current_setting('bobbin.owner_id', true) IN (owner_id, ' every owner') THEN true ELSE false END
);
CREATE POLICY own_rows ON journal USING (
    CASE WHEN current_setting('bobbin.owner_id', true) IN (owner_id, ' every owner') THEN true ELSE false END
);
CREATE POLICY own_rows ON changes USING (
    CASE WHEN current_setting('bobbin.owner_id', true) IN (owner_id, ' every owner') THEN true ELSE false END
);

DO $$
BEGIN
    IF (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON gateways, journal, changes TO bobbin_app;
        GRANT TRUNCATE ON journal_0, journal_1, journal_2, changes_0, changes_1, changes_2 TO bobbin_app;
        GRANT USAGE ON SEQUENCE changes_id TO bobbin_app;
    END IF;
END
$$;
