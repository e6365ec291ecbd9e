"""Which shards a worker takes and gives: each decides for itself, by the same rule, from what the store shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onex.kernel.membership import LiveWorker, Membership, ShardOwner, Worker, moves

SHARDS = 64


def seen(alive: list[str], owners: list[str]) -> Membership:
    return Membership(
        tuple(LiveWorker(Worker(one, 3.5), 1.0, 0.0) for one in alive), tuple(ShardOwner(one, 1) for one in owners)
    )


def settled(alive: list[str], owners: list[str]) -> list[str]:
    """Every worker does what it decides, in turn, until nobody has anything to do."""
    for _ in range(3):
        for me in alive:
            has = {shard: 1 for shard, owner in enumerate(owners) if owner == me}
            decided = moves(seen(alive, owners), me, has)
            for shard in decided.give:
                owners[shard] = ""
            for shard in decided.take:
                owners[shard] = me
    return owners


def test_the_only_worker_takes_every_shard() -> None:
    assert moves(seen(["a"], [""] * 4), "a", {}).take == {0, 1, 2, 3}


def test_a_shard_of_a_live_worker_is_not_taken_before_it_is_given() -> None:
    owners = ["a"] * SHARDS
    assert not moves(seen(["a", "b"], owners), "b", {}).take
    given = moves(seen(["a", "b"], owners), "a", dict.fromkeys(range(SHARDS), 1)).give
    assert given and len(given) < SHARDS


def test_a_shard_of_a_dead_worker_is_taken() -> None:
    assert moves(seen(["b"], ["a", ""]), "b", {}).take == {0, 1}


def test_a_shard_that_another_has_taken_is_lost() -> None:
    decided = moves(seen(["a", "b"], ["b", "b"]), "a", {0: 1})
    assert decided.lost == {0}
    assert not decided.give


def test_a_shard_whose_taking_had_no_answer_is_taken_again() -> None:
    assert moves(seen(["a"], ["a"]), "a", {}).take == {0}


def test_a_worker_that_counts_as_dead_itself_takes_nothing() -> None:
    decided = moves(seen(["b"], ["", ""]), "a", {})
    assert decided == (frozenset(), frozenset(), frozenset())


def test_a_shard_that_was_another_s_meanwhile_is_lost_though_it_is_ours_again() -> None:
    assert moves(seen(["a"], ["a"]), "a", {0: 0}).lost == {0}


def test_a_shard_that_was_taken_unknowingly_and_belongs_to_another_is_given() -> None:
    owners = ["a"] * SHARDS
    decided = moves(seen(["a", "b"], owners), "a", {})
    assert decided.give and decided.take and decided.give | decided.take == set(range(SHARDS))


@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.lists(st.sampled_from(["", *"abcdefgh"]), min_size=1))
def test_all_shards_end_with_a_live_worker_whoever_had_them(alive: set[str], owners: list[str]) -> None:
    assert set(settled(sorted(alive), list(owners))) <= alive


@given(st.sets(st.sampled_from("abcdefgh"), min_size=2))
def test_one_that_leaves_moves_only_its_own_shards(alive: set[str]) -> None:
    leaving, *left = sorted(alive)
    before = settled(sorted(alive), [""] * SHARDS)
    after = settled(left, list(before))
    assert all(now == was for was, now in zip(before, after, strict=True) if was != leaving)
