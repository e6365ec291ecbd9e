"""Alembic runs this file, under a name of its own, for each command. ``upgrade`` puts an open connection into the configuration."""

from __future__ import annotations

from alembic import context

if __name__ == "env_py":
    context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
