-- When the store or its database stands still, all leases lapse. Whoever is heard first then must not take the others
-- for dead: they deserve a lease's length to be heard, too.
--
-- The default is one moment for all rows, so none is touched, and the lock is held for a moment only. With it gateways
-- that are there, and those that a store of before registers, claim at once as before.

ALTER TABLE gateways ADD COLUMN claims_from timestamptz NOT NULL DEFAULT now();

COMMENT ON COLUMN gateways.claims_from IS
    'From when on it may claim: it has then held its lease without a gap for as long as one lasts.';
