"""Both databases under the same tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diffinf_core.review.journal import Journal
from tests.review.places import Place
from tests.review.postgres import binaries, server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a private PostgreSQL."""
    place = binaries()
    if place is None:
        pytest.skip("no PostgreSQL binaries: install requirements-dev.txt, or postgresql")
    with server(place) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Place]:
    """A function that gives an empty place of one kind."""
    if request.param == "sqlite":
        return lambda: Place(tmp_path / uuid.uuid4().hex / "journal.sqlite", "")
    url = request.getfixturevalue("postgres")
    return lambda: Place(url, uuid.uuid4().hex)


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    """An empty place for a journal."""
    return new_place()


@pytest.fixture
def journal(place: Place) -> Iterator[Journal]:
    """An empty journal."""
    journal = place.journal()
    yield journal
    journal.close()
