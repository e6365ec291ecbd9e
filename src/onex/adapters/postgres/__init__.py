"""The store on PostgreSQL, by asyncpg: the extra ``postgres``. Nothing here is imported before a URL asks for it."""

from __future__ import annotations
