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


def test_the_clock_is_one_for_all_and_a_files_cannot_be_set(
    journal: Journal, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    with journal.database.read() as connection:
        before = journal.database.now(connection)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert 0 <= journal.database.now(connection) - before < 60
        if place.run:
            assert before > 1e9, "the server's own clock"


@pytest.mark.parametrize("jump", [-24 * 60, 24 * 60])
def test_a_lease_never_lasts_longer_than_it_was_given_for(
    leases: Leases, clock: list[float], jump: float
) -> None:
    """A server's clock that was set back must not leave a pair with somebody who is long gone."""
    leases.claim("ann", ["s1"], minutes=10)
    clock[0] += jump
    assert leases.held() == {} and leases.claim("bob", ["s1"]) == "s1"


def test_leases_of_another_boot_have_ended(
    leases: Leases, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.claim("ann", ["s1"])
    monkeypatch.setattr("diffinf_core.review.database.boot_clock", lambda: "the next boot")
    assert leases.held() == ({"s1": "ann"} if place.run else {})


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
