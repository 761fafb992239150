"""Who looks at which sample now: a lease ends by itself, so that nobody who left holds up the others."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, delete, insert, not_, or_, select

from diffinf_core.records import DiffInfError
from diffinf_core.review.database import LEASES, Database
from diffinf_core.review.journal import reviewer_name


class Leases:
    """Samples handed out, each to one reviewer at a time, across threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _ended(self, now: float) -> ColumnElement[bool]:
        """Whether a lease is over; also where it would last longer than given, as its clock was set back."""
        return or_(
            LEASES.c.clock != self._database.clock,
            LEASES.c.until <= now,
            LEASES.c.until > now + LEASES.c.seconds,
        )

    def _held(self, connection: Connection, now: float) -> dict[str, str]:
        ours = LEASES.c.run == self._database.run
        rows = connection.execute(
            select(LEASES.c.sample, LEASES.c.reviewer)
            .where(ours, not_(self._ended(now)))
            .order_by(LEASES.c.until.desc())
        )
        return {row.sample: row.reviewer for row in rows}

    def held(self) -> dict[str, str]:
        """Who holds each sample now, the latest lease first."""
        with self._database.read() as connection:
            return self._held(connection, self._database.now(connection))

    def claim(
        self, reviewer: str, candidates: Iterable[str], minutes: float = 10, at_most: int = 1
    ) -> str | None:
        """Give the first candidate that nobody else holds, for some minutes; None where all are held.

        One's own lease on it is renewed. A reviewer holds ``at_most`` samples: their earlier leases
        beyond that end here, even where nothing is given.
        """
        if not minutes > 0 or at_most < 1:
            raise DiffInfError(
                "A sample is held for more than 0 minutes, and at least one of them."
            )
        name, ours = reviewer_name(reviewer), LEASES.c.run == self._database.run
        if self._database.read_only:  # whoever may only look takes nothing from anybody
            return next((s for s in candidates if self.held().get(s, name) == name), None)
        with self._database.write("The claim") as connection:
            now = self._database.now(connection)
            held = self._held(connection, now)
            chosen = next((s for s in candidates if held.get(s, name) == name), None)
            own = [s for s, holder in held.items() if holder == name and s != chosen]
            ended = [*own[at_most - 1 :], *([] if chosen is None else [chosen])]
            connection.execute(
                delete(LEASES).where(ours, or_(self._ended(now), LEASES.c.sample.in_(ended)))
            )
            if chosen is not None:
                row = {"run": self._database.run, "sample": chosen, "reviewer": name}
                lasts = {
                    "until": now + 60 * minutes,
                    "seconds": 60 * minutes,
                    "clock": self._database.clock,
                }
                connection.execute(insert(LEASES).values({**row, **lasts}))
            return chosen

    def release(self, reviewer: str) -> None:
        """End all leases of a reviewer."""
        ours = LEASES.c.run == self._database.run
        if self._database.read_only:
            return
        with self._database.write("The release") as connection:
            connection.execute(
                delete(LEASES).where(ours, LEASES.c.reviewer == reviewer_name(reviewer))
            )
