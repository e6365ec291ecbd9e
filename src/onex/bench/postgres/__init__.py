"""What a bench needs to measure a PostgreSQL store: a schema of its own on a server, and what that server alone reaches."""
