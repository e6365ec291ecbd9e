"""The files of a user's repository: which are contracts, what they refer to, how they were at a git revision."""

from __future__ import annotations
