"""The append-only journal of decisions.

Nothing is ever changed or removed: an undo is one more line that names the line, or the batch of lines, it
takes back. The state of the review is what the journal says when read from the start. Each line is on
disk before the call returns, so a kill loses no decision that was acknowledged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, func, insert, select

from diffinf_core.records import (
    ACTIONS,
    MODES,
    ROLES,
    Choice,
    Decision,
    DiffInfError,
    OutdatedError,
)
from diffinf_core.review.checksum import with_checksums
from diffinf_core.review.database import LINES, Database
from diffinf_core.review.history import REDO, UNDO, Act, History
from diffinf_core.review.mark import Mark
from diffinf_core.review.reading import reading_of
from diffinf_core.review.verdict import DECIDE, SECOND, Verdict, may_second
from diffinf_core.runs.files import digest

MAX_COMMENT, MAX_REVIEWER, _MAX_CLIENT = 2000, 80, 64


class LostJournalError(DiffInfError):
    """A run was reviewed, and its journal is missing, empty, or ends before lines that it had."""

    def __init__(self, database: Database, mark: Path, last: int = 0, had: int = 0) -> None:
        what = f"ends at line {last} and had {had}" if last else "is missing or empty"
        begin = "what is there is taken as it is" if last else "a new review can begin"
        super().__init__(
            f"{mark.parent} was reviewed, and its journal {database.name} {what}. {database.remedy}; "
            "--without-decisions goes on as if nobody had decided, "
            f"and {begin} once {mark} is removed."
        )


def _text(value: str) -> str:
    """Text as every database takes it: no NUL, no half of a surrogate pair."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def _comment(text: str) -> str:
    """A comment as it was written; :class:`DiffInfError` for one that would have to be cut."""
    if len(text) > MAX_COMMENT:
        raise DiffInfError(
            f"The comment has {len(text):,} characters; {MAX_COMMENT:,} are allowed. Shorten it; nothing was "
            "written."
        )
    return _text(text)


def reviewer_name(reviewer: str) -> str:
    """A reviewer as the journal writes them; :class:`DiffInfError` for a name that would have to be cut."""
    if len(reviewer) > MAX_REVIEWER:
        raise DiffInfError(
            f"The reviewer's name has {len(reviewer)} characters; {MAX_REVIEWER} are allowed."
        )
    return _text(reviewer) or "anonymous"


class Journal:
    """Decisions of one run, shared by threads and processes.

    ``where`` is a file, None for a review that nobody has begun, or the URL of a PostgreSQL that keeps the
    lines of many a ``run``. ``mark`` is a file that says, once there was a line, that there should be one: a
    journal that is missing or empty then raises :class:`LostJournalError` instead of passing for a new one.
    """

    def __init__(
        self,
        where: Path | str | None,
        classes: Sequence[str],
        run: str = "",
        mark: Path | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.database = Database(where, run)
        self._mark = Mark(mark, self.database.name)

    def close(self) -> None:
        """Let go of the file or the server."""
        self.database.close()

    def _not_lost(self, last: int, had: int) -> None:
        """Refuse to take a journal that is empty or cut for a whole one; else remember its last line.

        ``last`` is the number of its last line, 0 for none; ``had`` what :meth:`Mark.last` was before the
        journal was read.
        """
        if self._mark.file is not None and had >= 0 and last < max(had, 1):
            raise LostJournalError(self.database, self._mark.file, last, had)
        if last:
            self._mark.keep(last)

    # ------------------------------------------------------------ writing

    def decide(
        self,
        sample: str,
        action: str,
        reviewer: str,
        version: str | None = None,
        new_label: str | None = None,
        comment: str = "",
        role: str = DECIDE,
        client: str | None = None,
        seen: int | None = None,
        mode: str | None = None,
    ) -> int:
        """Write a decision; returns its line number. A later one replaces an earlier one.

        ``role`` is "decide", "second" (an independent opinion, made without seeing the first) or
        "adjudicate". ``client`` is a token that the caller draws for this decision: sent twice, it is
        written once, and the first line's number is returned. ``seen`` is the :meth:`stamps` of the
        sample when a person was shown it; without it the decision counts as made without looking. ``mode``
        is one of :data:`MODES` where a person looked.

        Raises :class:`OutdatedError` where somebody else wrote about the sample since.
        """
        choice = Choice(sample, action, version, new_label, comment)
        if mode not in (None, *MODES):
            raise DiffInfError(f"Unknown mode {mode!r}; choose one of {', '.join(MODES)}.")
        row = self._row(choice, reviewer, role) | {"seen": seen, "mode": mode}
        looked = {} if seen is None else {sample: seen}
        return self._write([row], client, looked, but=row["reviewer"])[0]

    def decide_many(
        self,
        choices: Sequence[Choice],
        reviewer: str,
        role: str | Mapping[str, str] = DECIDE,
        client: str | None = None,
        seen: Mapping[str, int] | None = None,
    ) -> list[int]:
        """Write decisions in one transaction: all or none; undo takes them back as one.

        Returns their line numbers. More than one make a batch, in which a sample may occur once.
        ``role`` may be one for each sample. ``seen`` are the :meth:`stamps` of the samples, of nobody
        in particular, when they were listed: :class:`OutdatedError` names those written about since.
        """
        roles = dict.fromkeys((c.sample for c in choices), role) if isinstance(role, str) else role
        rows = [self._row(choice, reviewer, roles[choice.sample]) for choice in choices]
        counts = Counter(choice.sample for choice in choices)
        twice = next((sample for sample, n in counts.items() if n > 1), None)
        if twice is not None:
            raise DiffInfError(f"Sample {twice!r} is twice among these decisions.")
        return self._write(rows, client, seen or {}) if rows else []

    def _write(
        self,
        rows: list[dict[str, Any]],
        client: str | None,
        seen: Mapping[str, int],
        but: str = "",
    ) -> list[int]:
        if client:
            if len(client) > _MAX_CLIENT:
                raise DiffInfError(f"A client's token has at most {_MAX_CLIENT} characters.")
            rows[0]["client"] = client = _text(client)
        if len(rows) > 1:
            batch = uuid4().hex
            for row in rows:
                row["batch"] = batch
        what = "The decision" if len(rows) == 1 else "The decisions"
        with self.written(what) as connection:
            known = self._known(connection, client) if client else []
            if known:
                return known
            self._refuse(connection, rows, seen, but)
            return self._append(connection, rows)

    @contextmanager
    def written(self, what: str) -> Iterator[Connection]:
        """A transaction, in a journal that is not lost; nothing is made where one is missing."""
        had = self._mark.last()
        if not self.database.exists:
            self._not_lost(0, had)
        with self.database.write(what) as connection:
            yield connection
            # nobody writes beside this transaction: no later reader needs to ask again
            ours = LINES.c.run == self.database.run
            last = connection.scalar(select(func.max(LINES.c.seq)).where(ours))
        if last:  # else nobody has decided yet
            self._mark.keep(last)

    def _row(self, choice: Choice, reviewer: str, role: str) -> dict[str, Any]:
        if role not in ROLES:
            raise DiffInfError(f"Unknown role {role!r}; choose one of {', '.join(ROLES)}.")
        action, version, label = choice.action, choice.version, choice.new_label
        if action not in ACTIONS:
            raise DiffInfError(f"Unknown decision {action!r}; choose one of {', '.join(ACTIONS)}.")
        if action == "accept" and not version:
            raise DiffInfError("Accepting needs the version of the edit.")
        if action == "relabel" and label not in self.classes:
            raise DiffInfError(
                f"{label!r} is not a class; choose one of {', '.join(self.classes)}."
            )
        return {
            "reviewer": reviewer_name(reviewer),
            "action": action,
            "sample": choice.sample,
            "version": version if action == "accept" else None,
            "new_label": label if action == "relabel" else None,
            "comment": _comment(choice.comment),
            "role": role,
            "batch": None,
            "client": None,
            "seen": None,
            "mode": None,
        }

    def _known(self, connection: Connection, client: str) -> list[int]:
        """The lines that were written under a token."""
        ours = LINES.c.run == self.database.run
        found = connection.execute(
            select(LINES.c.seq, LINES.c.batch).where(ours, LINES.c.client == client)
        ).first()
        if found is None:
            return []
        return self._numbers(connection, found.batch) if found.batch else [found.seq]

    def _numbers(self, connection: Connection, batch: str) -> list[int]:
        ours = LINES.c.run == self.database.run
        chosen = select(LINES.c.seq).where(
            ours, LINES.c.batch == batch, LINES.c.action.in_(ACTIONS)
        )
        return list(connection.scalars(chosen.order_by(LINES.c.seq)))

    def _refuse(
        self,
        connection: Connection,
        rows: Sequence[dict[str, Any]],
        seen: Mapping[str, int],
        but: str,
    ) -> None:
        """Refuse what was decided on a view that others have changed since, and second opinions of firsts."""
        second = [row for row in rows if row["role"] == SECOND]
        if not (seen or second):
            return
        with self._up_to_date(connection) as history:
            outdated = [s for s, stamp in seen.items() if history.stamp(s, but) > stamp]
            if outdated:
                raise OutdatedError(outdated)
            for row in second:
                verdict = history.verdict(row["sample"])
                if verdict and not may_second(verdict, row["reviewer"]):
                    raise DiffInfError(
                        f"{row['reviewer']} decided on sample {row['sample']}; a second opinion "
                        "comes from somebody else."
                    )

    def _append(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        ours = LINES.c.run == self.database.run
        last = select(LINES.c.seq, LINES.c.checksum).where(ours).order_by(LINES.c.seq.desc())
        before = connection.execute(last.limit(1)).first()
        self._not_lost(0 if before is None else before.seq, self._mark.last())
        timed = [{"role": DECIDE, **row, "time": time, "run": self.database.run} for row in rows]
        full = with_checksums(timed, None if before is None else before.checksum)
        if len(full) == 1:
            key = connection.execute(insert(LINES).values(full[0])).inserted_primary_key
            assert key is not None
            return [int(key[0])]
        connection.execute(insert(LINES), full)
        return self._numbers(connection, full[0]["batch"])

    def undo(self, reviewer: str) -> list[str]:
        """Take back this reviewer's last standing decision, or batch; returns its samples, [] if none."""
        return self._turn(UNDO, reviewer)

    def redo(self, reviewer: str) -> list[str]:
        """Bring back what :meth:`undo` took last, unless a new decision was made since; its samples."""
        return self._turn(REDO, reviewer)

    def _turn(self, action: str, reviewer: str) -> list[str]:
        name = reviewer_name(reviewer)
        with self.written("The step") as connection:
            with self._up_to_date(connection) as history:
                act = history.to_undo(name) if action == UNDO else history.to_redo(name)
                if act is None:
                    return []
                samples, first = history.samples(act), history.first(act)
            row = {"reviewer": name, "action": action, "undoes": first, "batch": _batch(act)}
            self._append(connection, [{**row, "comment": ""}])
            return samples

    # ------------------------------------------------------------ reading

    @contextmanager
    def _up_to_date(self, connection: Connection | None = None) -> Iterator[History]:
        """The history with all lines that are written by now, for one thread at a time."""
        had = self._mark.last()
        with ExitStack() as stack:
            # connect before locking: who holds the lock never waits for a connection
            connection = connection or stack.enter_context(self.database.read())
            reading = reading_of(self.database)
            history = stack.enter_context(reading.up_to_date(connection, self.database))
            self._not_lost(history.seen, had)
            yield history

    def decisions(self) -> dict[str, Decision]:
        """The standing decision of each decided sample, in the order of the decisions.

        Where a second opinion differs from the first and nobody has adjudicated, "second_look" stands.
        """
        with self._up_to_date() as history:
            return history.standing()

    def verdicts(self, samples: Iterable[str] | None = None) -> dict[str, Verdict]:
        """All that is said about these samples, or about every decided one; none where nothing is."""
        with self._up_to_date() as history:
            chosen = history.standing() if samples is None else samples
            found = {sample: history.verdict(sample) for sample in chosen}
        return {sample: verdict for sample, verdict in found.items() if verdict is not None}

    def stamps(self, samples: Iterable[str], reviewer: str = "") -> dict[str, int]:
        """What a reviewer, or nobody in particular, who is shown these samples has seen of them.

        These are numbers of lines; read them before what is shown.
        """
        name = reviewer_name(reviewer) if reviewer else ""
        with self._up_to_date() as history:
            return {sample: history.stamp(sample, name) for sample in samples}

    def last(self) -> int:
        """The number of the last line, 0 for none; read it before a list that is shown."""
        with self._up_to_date() as history:
            return history.seen

    def has_decided(self, sample: str, reviewer: str) -> bool:
        """Whether a reviewer ever decided on a sample; a decision that was undone counts, no second look."""
        name = reviewer_name(reviewer)
        with self._up_to_date() as history:
            return history.has_decided(sample, name)

    def latest(self, reviewer: str, n: int) -> list[Decision]:
        """The reviewer's last ``n`` decisions that were not undone, newest first, one for each sample."""
        name = reviewer_name(reviewer)
        with self._up_to_date() as history:
            return history.latest(name, n)

    def by_reviewer(self) -> dict[str, list[Decision]]:
        """Every reviewer's decisions that were not undone, newest first, one for each sample."""
        with self._up_to_date() as history:
            return {name: history.latest(name) for name in history.reviewers()}

    def opinions(self) -> dict[str, dict[str, Decision]]:
        """Each reviewer's latest decision or second opinion on each sample; adjudications are none."""
        return {s: dict(v.opinions) for s, v in self.verdicts().items() if v.opinions}

    def disagreements(self) -> dict[str, tuple[Decision, ...]]:
        """Samples whose opinions differ and that nobody adjudicated: the first opinion, and the others."""
        with self._up_to_date() as history:
            return history.conflicts()

    def key(self) -> str:
        """A hash of what the standing decisions do to the data set, whoever made them.

        Decisions that leave a sample as it is (reject, keep, second look) do not count.
        """
        with self._up_to_date() as history:
            reading = reading_of(self.database)
            if reading.key is None or reading.key[0] != history.seen:
                standing = {
                    s: [d.action, d.version, d.new_label]
                    for s, d in history.standing().items()
                    if d.action in ("accept", "relabel", "drop")
                }
                reading.key = history.seen, digest(standing)
            return reading.key[1]


def _batch(act: Act) -> str | None:
    return act if isinstance(act, str) else None
