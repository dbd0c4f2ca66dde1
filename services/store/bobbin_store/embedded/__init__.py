"""An embedded PostgreSQL, for when no database is given."""
