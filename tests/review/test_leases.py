"""Samples are handed out to one reviewer at a time, and come back by themselves."""

from __future__ import annotations

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.review.database import Database
from diffinf_core.review.journal import Journal
from diffinf_core.review.leases import Leases
from tests.review.places import Place

ORDER = ["s1", "s2", "s3"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in minutes, as a test sets it."""
    now = [1e6]
    monkeypatch.setattr(Database, "now", lambda self, connection: 60 * now[0])
    return now


@pytest.fixture
def leases(journal: Journal) -> Leases:
    return Leases(journal.database)


def test_each_gets_the_first_that_nobody_else_holds(leases: Leases) -> None:
    assert [leases.claim(who, ORDER) for who in ("ann", "bob", "ann", "cem", "dan")] == [
        "s1",
        "s2",
        "s1",
        "s3",
        None,
    ]
    leases.release("bob")
    assert leases.claim("dan", ORDER) == "s2" and leases.claim("bob", ORDER) is None
    assert leases.held() == {"s1": "ann", "s2": "dan", "s3": "cem"}


def test_whoever_moves_on_lets_the_last_one_go(leases: Leases) -> None:
    leases.claim("ann", ORDER)
    assert leases.claim("ann", ["s3"]) == "s3" and leases.held() == {"s3": "ann"}
    assert leases.claim("ann", []) is None and leases.held() == {}


def test_more_than_one_can_be_held_and_the_oldest_goes_first(
    leases: Leases, clock: list[float]
) -> None:
    for sample in ORDER:
        leases.claim("ann", [sample], at_most=2)
        clock[0] += 1
    assert leases.held() == {"s3": "ann", "s2": "ann"}
    assert leases.claim("bob", ORDER) == "s1"


def test_a_lease_ends_by_itself_unless_it_is_renewed(leases: Leases, clock: list[float]) -> None:
    leases.claim("ann", ["s1"], minutes=10)
    clock[0] += 9.9
    assert leases.claim("bob", ["s1"]) is None
    assert leases.claim("ann", ["s1"], minutes=10) == "s1"
    clock[0] += 9.9
    assert leases.claim("bob", ["s1"]) is None
    clock[0] += 0.2
    assert leases.held() == {}
    assert leases.claim("bob", ["s1"]) == "s1" and leases.claim("ann", ["s1"]) is None


def test_the_clock_is_the_databases(journal: Journal) -> None:
    import time

    with journal.database.read() as connection:
        assert abs(journal.database.now(connection) - time.time()) < 5


def test_runs_and_sessions(leases: Leases, place: Place) -> None:
    leases.claim("ann", ["s1"])
    again = place.journal()
    assert Leases(again.database).claim("bob", ["s1"]) is None
    if place.run:
        other = Journal(place.where, ("a",), "another run")
        assert Leases(other.database).claim("bob", ["s1"]) == "s1"
        Leases(other.database).release("bob")
        other.close()
    again.close()
    assert leases.held() == {"s1": "ann"}


@pytest.mark.parametrize("given", [{"minutes": 0}, {"minutes": float("nan")}, {"at_most": 0}])
def test_a_lease_of_nothing_is_refused(leases: Leases, given: dict[str, float]) -> None:
    with pytest.raises(DiffInfError, match="more than 0 minutes"):
        leases.claim("ann", ORDER, **given)
