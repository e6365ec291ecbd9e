"""Route: which worker an instance belongs to. The same key goes to the same worker for as long as that worker is there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b, sha256

from .action import WorkflowKey


def route_key(key: WorkflowKey) -> str:
    """``sha256("type:instance")[:16]``: a label for logs. It decides nothing: the shard says who owns a key."""
    return sha256(str(key).encode()).hexdigest()[:16]


def shard_of(key: WorkflowKey, shards: int) -> int:
    """blake2b of ``type:id`` (8 bytes, big-endian) modulo the store's number of shards."""
    if shards == 1:
        return 0
    return int.from_bytes(blake2b(str(key).encode(), digest_size=8).digest()) % shards


def rendezvous(label: str, workers: Mapping[str, float]) -> str | None:
    """The worker with the highest weighted score for ``label``; None when there is none.

    Weighted rendezvous hashing (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker 2005): score
    ``-weight / ln(h)`` with h uniform in (0, 1). A worker that leaves moves only its own keys.
    """
    best, best_score = None, -math.inf
    for worker, weight in workers.items():
        digest = blake2b(label.encode(), key=worker.encode()[:64], digest_size=8).digest()
        unit = (int.from_bytes(digest) + 1) / (2**64 + 1)
        score = -weight / math.log(unit)
        if score > best_score or (score == best_score and best is not None and worker < best):
            best, best_score = worker, score
    return best
