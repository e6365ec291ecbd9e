"""A directory packs its results into bundles; in whatever order they arrive, each is reported once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onex.workflows.code_analysis.analysis import FileAnalysis, analyse
from onex.workflows.code_analysis.gather import WIDTH, Gathering
from onex.workflows.code_analysis.summary import bundle, line, tally_of, unbundle
from onex.workflows.code_analysis.tally import FileTally


class Shelf:
    """Blobs by number, as a store would keep them by hash."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []

    def put(self, blob: bytes) -> int:
        self.blobs.append(blob)
        return len(self.blobs) - 1

    def get(self, numbers: tuple[int, ...]) -> list[bytes]:
        return [self.blobs[number] for number in numbers]


def drive(gathering: Gathering[int], shelf: Shelf) -> Gathering[int]:
    while gathering.to_pack:
        gathering = gathering.pack()
        gathering = gathering.packed(shelf.put(bundle(shelf.get(gathering.packing))))
    return gathering


def analysed(name: str) -> FileAnalysis:
    return analyse(f'"""{name}"""\n'.encode(), f"{name}.py", name)


def test_nothing_is_packed_before_enough_has_come() -> None:
    gathering: Gathering[int] = Gathering(expected=WIDTH + 1)
    for number in range(WIDTH - 1):
        gathering = gathering.arrive(FileTally(), [number])
    assert not gathering.to_pack
    assert gathering.arrive(FileTally(), [WIDTH]).to_pack


def test_the_last_arrival_makes_the_rest_due() -> None:
    gathering = Gathering[int](expected=2).arrive(FileTally(), [1])
    assert not gathering.to_pack
    gathering = gathering.arrive(FileTally(), [2])
    assert gathering.to_pack
    assert not gathering.complete


def test_one_set_is_under_way_at_a_time_and_arrivals_wait() -> None:
    gathering = Gathering[int](expected=2).arrive(FileTally(), [1]).arrive(FileTally(), [2]).pack()
    late = gathering.arrive(FileTally(), [3])
    assert (late.packing, late.loose, late.to_pack, late.complete) == ((1, 2), (3,), False, False)
    done = late.packed(9)
    assert (done.packing, done.bundles, done.to_pack) == ((), (9,), True)


def test_a_part_that_failed_arrives_without_a_blob() -> None:
    gathering = Gathering[int](expected=1).arrive(FileTally(), [])
    assert gathering.complete
    assert gathering.bundles == ()


def test_an_empty_directory_is_complete_at_once() -> None:
    assert Gathering[int](expected=0).complete


@given(st.lists(st.integers(0, 90), max_size=5))
def test_a_tree_is_reported_once_and_in_full(directories: list[int]) -> None:
    shelf = Shelf()
    tree: Gathering[int] = Gathering(expected=len(directories))
    names = []
    for place, count in enumerate(directories):
        directory: Gathering[int] = Gathering(expected=count)
        for number in range(count):
            one = analysed(f"d{place}_{number}")
            names.append(one.module)
            directory = drive(directory.arrive(tally_of(one), [shelf.put(line(one))]), shelf)
        assert directory.complete
        tree = drive(tree.arrive(directory.tally, directory.bundles), shelf)
    assert tree.complete
    reported = [found.module for found in unbundle(shelf.get(tree.bundles))]
    assert sorted(reported) == sorted(names)
    assert tree.tally.totals.files == len(names)


def test_thousands_of_parts_leave_few_references() -> None:
    shelf = Shelf()
    gathering: Gathering[int] = Gathering(expected=6_000)
    held = 0
    for number in range(6_000):
        gathering = drive(gathering.arrive(FileTally(), [shelf.put(b"%d\n" % number)]), shelf)
        held = max(held, len(gathering.loose) + len(gathering.packing) + len(gathering.bundles))
    assert gathering.complete
    assert held <= 3 * WIDTH
    assert sorted(b"".join(shelf.get(gathering.bundles)).split(), key=int) == [b"%d" % n for n in range(6_000)]


def test_a_bundle_is_read_back_as_it_was() -> None:
    parts = [analysed("a"), analyse("x = 'ä\\n'\n".encode(), "b.py", "b"), analyse(b"\0", "c.py", "c")]
    blobs = [bundle([bundle([line(parts[0])]), line(parts[1])]), b"", line(parts[2])]
    assert list(unbundle(blobs)) == parts
