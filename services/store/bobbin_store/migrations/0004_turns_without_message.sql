-- Turns that answer no message: they go on from a client tool's output, from answers, or react to an action.
--
-- Nothing of this touches a row, so the lock on the table is held for a moment only. The store of before goes on
-- working: it always gives a message, and finds none where there is none.

ALTER TABLE turns
    ALTER COLUMN message_id DROP NOT NULL,
    ADD COLUMN subject_id text COLLATE "C",
    ADD COLUMN context_seq bigint;

COMMENT ON COLUMN turns.message_id IS 'The message that the turn answers; null if it goes on from something else.';
COMMENT ON COLUMN turns.subject_id IS 'The item that it goes on from then, if there is one.';
COMMENT ON COLUMN turns.context_seq IS 'The last item of the thread when a turn without a message began.';
