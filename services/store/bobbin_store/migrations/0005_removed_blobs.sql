-- The bytes of attachments lie with the gateways. Which of them are to be removed is written down here, in the
-- transaction that removes the attachment: so no crash can lose it.

ALTER TABLE attachments ADD COLUMN touched_at timestamptz NOT NULL DEFAULT now();

COMMENT ON COLUMN attachments.touched_at IS 'When it was made, when its bytes came, or when a message last asked for it.';

CREATE INDEX attachments_unsent ON attachments (touched_at) WHERE thread_id IS NULL;

CREATE TABLE removed_blobs (
    owner_id text COLLATE "C" NOT NULL,
    attachment_id text COLLATE "C" NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX removed_blobs_by_due ON removed_blobs (due_at);
ALTER TABLE removed_blobs ADD CONSTRAINT removed_blobs_pkey PRIMARY KEY (owner_id, attachment_id);

COMMENT ON COLUMN removed_blobs.due_at IS 'When a gateway is to remove it (again).';

-- A trigger, because attachments go in many ways, one of them by the foreign key to their thread: no statement of
-- ours sees exactly those that go with it.

CREATE FUNCTION list_removed_blobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bobbin.removed_blobs (owner_id, attachment_id) SELECT owner_id, id FROM gone
    ON CONFLICT ON CONSTRAINT removed_blobs_pkey DO UPDATE SET removed_at = now(), due_at = now();
    RETURN NULL;
END
$$;

CREATE TRIGGER attachments_removed AFTER DELETE ON attachments
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION list_removed_blobs();

-- Sweeps are for many owners at once.

ALTER TABLE removed_blobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

DROP POLICY own_rows ON attachments;
CREATE POLICY own_rows ON attachments USING (
    CASE WHEN current_setting('bobbin.owner_id', true) IN (owner_id, ' every owner') THEN true ELSE false END
);
CREATE POLICY own_rows ON removed_blobs USING (
    CASE WHEN current_setting('bobbin.owner_id', true) IN (owner_id, ' every owner') THEN true ELSE false END
);

DO $$
BEGIN
    IF (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON removed_blobs TO bobbin_app;
    END IF;
END
$$;
