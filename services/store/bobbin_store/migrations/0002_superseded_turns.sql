-- A turn that a newer one supersedes is interrupted at once, and ends when its gateway says what became of it.

ALTER TABLE turns
    DROP CONSTRAINT turns_end_check,
    ADD CONSTRAINT turns_end_check CHECK (state <> 'running' OR ended_at IS NULL);
