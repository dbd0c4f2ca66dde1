-- Threads, their items and turns, attachments and feedback.
--
-- owner_id leads every key and index: one owner's rows lie together, and the tables can be split by owner
-- (hash partitions, Citus) without a change of schema.
--
-- Documents are json, not jsonb: json keeps the text as it was sent, and takes \u0000, which jsonb refuses.
-- Nothing in SQL looks into them.
--
-- Each primary key is made after the other indexes: of those that look equally good, as all do while a table is
-- small, the planner takes the youngest, and a plan made then is kept for a while. A partial index comes later still.

CREATE TABLE threads (
    owner_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    title text,
    status json NOT NULL,
    allowed_image_domains json,
    metadata json NOT NULL,
    last_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 85);  -- every turn updates its thread: room for that on the same page

CREATE INDEX threads_by_creation ON threads (owner_id, created_at, id);
ALTER TABLE threads ADD CONSTRAINT threads_pkey PRIMARY KEY (owner_id, id);

COMMENT ON COLUMN threads.last_seq IS 'The highest seq given to an item; the row lock of its increment orders writers.';

CREATE TABLE items (
    owner_id text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    hidden boolean NOT NULL,
    turn_id text COLLATE "C",
    created_at timestamptz NOT NULL,
    data json NOT NULL,
    CONSTRAINT items_thread_fkey FOREIGN KEY (owner_id, thread_id)
        REFERENCES threads (owner_id, id) ON DELETE CASCADE
);

ALTER TABLE items ADD CONSTRAINT items_by_seq UNIQUE (owner_id, thread_id, seq);
ALTER TABLE items ADD CONSTRAINT items_pkey PRIMARY KEY (owner_id, thread_id, id);

CREATE TABLE turns (
    owner_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    usage json,
    error text,
    CONSTRAINT turns_thread_fkey FOREIGN KEY (owner_id, thread_id)
        REFERENCES threads (owner_id, id) ON DELETE CASCADE,
    CONSTRAINT turns_state_check CHECK (state IN ('running', 'completed', 'cancelled', 'failed', 'interrupted')),
    CONSTRAINT turns_end_check CHECK ((state = 'running') = (ended_at IS NULL))
) WITH (fillfactor = 85);

CREATE INDEX turns_by_thread ON turns (owner_id, thread_id, started_at, id);
ALTER TABLE turns ADD CONSTRAINT turns_pkey PRIMARY KEY (owner_id, id);
CREATE UNIQUE INDEX turns_one_running ON turns (owner_id, thread_id) WHERE state = 'running';

CREATE TABLE attachments (
    owner_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(),
    data json NOT NULL,
    CONSTRAINT attachments_thread_fkey FOREIGN KEY (owner_id, thread_id)
        REFERENCES threads (owner_id, id) ON DELETE CASCADE
);

CREATE INDEX attachments_by_thread ON attachments (owner_id, thread_id);
ALTER TABLE attachments ADD CONSTRAINT attachments_pkey PRIMARY KEY (owner_id, id);

CREATE TABLE feedback (
    owner_id text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feedback_pkey PRIMARY KEY (owner_id, thread_id, item_id),
    CONSTRAINT feedback_item_fkey FOREIGN KEY (owner_id, thread_id, item_id)
        REFERENCES items (owner_id, thread_id, id) ON DELETE CASCADE,
    CONSTRAINT feedback_kind_check CHECK (kind IN ('positive', 'negative'))
);

-- The second wall behind owner_id in every statement: without the setting no row is there at all. The CASE keeps the
-- planner from counting owner_id twice, which would make every index that begins with it look as good as any other.

ALTER TABLE threads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE turns ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE attachments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE feedback ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY own_rows ON threads
    USING (CASE WHEN owner_id = current_setting('bobbin.owner_id', true) THEN true ELSE false END);
CREATE POLICY own_rows ON items
    USING (CASE WHEN owner_id = current_setting('bobbin.owner_id', true) THEN true ELSE false END);
CREATE POLICY own_rows ON turns
    USING (CASE WHEN owner_id = current_setting('bobbin.owner_id', true) THEN true ELSE false END);
CREATE POLICY own_rows ON attachments
    USING (CASE WHEN owner_id = current_setting('bobbin.owner_id', true) THEN true ELSE false END);
CREATE POLICY own_rows ON feedback
    USING (CASE WHEN owner_id = current_setting('bobbin.owner_id', true) THEN true ELSE false END);

-- Row-level security does not bind superusers: a store that connects as one steps down to this plain role.
-- Roles are shared by all databases of the server, where another store may be creating it just now.

DO $$
BEGIN
    IF (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) THEN
        BEGIN
            CREATE ROLE bobbin_app NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        GRANT USAGE ON SCHEMA bobbin TO bobbin_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON threads, items, turns, attachments, feedback TO bobbin_app;
        GRANT SELECT ON migrations TO bobbin_app;
    END IF;
END
$$;
