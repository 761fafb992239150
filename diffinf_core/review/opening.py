"""The journal of a run: its own file, or its lines in the database that DIFFINF_STORE names."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from sqlalchemy import insert, select, text

from diffinf_core.data.ingest import DATA
from diffinf_core.records import Decision, DiffInfError
from diffinf_core.review.checksum import verify, with_checksums
from diffinf_core.review.database import LINES, STORE, Database
from diffinf_core.review.journal import Journal
from diffinf_core.review.tag_tables import TAGS, VIEWS
from diffinf_core.runs.files import publish_folder, read_json, write_json
from diffinf_core.runs.run import Run

#: in a run's folder once a decision was written; see :class:`Journal`
REVIEWED = "reviewed.json"


def run_key(run: Run) -> str:
    """The name under which a shared database keeps a run, drawn once and kept in the run's folder.

    It goes with the folder when that is moved; a copy of the folder shares the review of the original.
    """
    folder = run.root / "review" / "shared"
    file = folder / "run.json"
    if not file.exists():  # the first of several that draw one at once wins
        publish_folder(folder, lambda new: write_json(new / "run.json", {"run": uuid4().hex}))
    return str(read_json(file)["run"])


def take_over(file: Path, database: Database) -> int:
    """Copy the lines of a run's own file into a shared database that has none of that run; how many."""
    own = Database(file)
    with own.read() as connection:
        lines = connection.execute(select(LINES).order_by(LINES.c.seq)).all()
        beside = {
            table: connection.execute(select(table).order_by(table.c.seq)).all()
            for table in (TAGS, VIEWS)
        }
    own.close()
    verify(lines, None, own.name)
    rows = [dict(row._mapping) for row in lines]
    if not rows and not any(beside.values()):
        return 0
    with database.write("The journal of the run's folder") as connection:
        ours = LINES.c.run == database.run
        if connection.execute(select(LINES.c.seq).where(ours).limit(1)).first():
            return 0
        for table, found in beside.items():
            if connection.execute(
                select(table.c.seq).where(table.c.run == database.run).limit(1)
            ).first():
                continue
            own_rows = [{**row._mapping, "run": database.run} for row in found]
            for row in own_rows:
                del row["seq"]
            if own_rows:
                connection.execute(insert(table), own_rows)
        if not rows:
            return 0
        drawn = text(
            "SELECT nextval(pg_get_serial_sequence('journal', 'seq')) FROM generate_series(1, :n)"
        )
        numbers = sorted(connection.scalars(drawn, {"n": len(rows)}))
        new = dict(zip((row["seq"] for row in rows), numbers, strict=True))
        for row in rows:
            row |= {"seq": new[row["seq"]], "undoes": new.get(row["undoes"]), "run": database.run}
            if row["seen"] is not None:  # a line before it, or 0 for none
                row["seen"] = new.get(row["seen"], 0)
        connection.execute(insert(LINES), with_checksums(rows, None))
    return len(rows)


def open_journal(run: Run) -> Journal:
    """The journal of a run.

    What was decided before DIFFINF_STORE was set goes over into the database when the run is first opened
    with it; from then on, the file in the run's folder stays as it was. Where the caller goes on
    ``run.without_decisions``, the journal is that of a run which nobody has reviewed.
    """
    stage = DATA.folder(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} has no data yet; start the run first.")
    file, classes = run.root / "review" / "journal.sqlite", read_json(stage / "classes.json")
    url, mark = os.environ.get(STORE, "").strip(), run.root / REVIEWED
    if run.without_decisions:
        return Journal(None, classes)
    if not url:
        return Journal(file, classes, mark=mark)
    key = run_key(run)
    if file.exists():
        database = Database(url, key)
        take_over(file, database)
        database.close()
    return Journal(url, classes, key, mark)


def read_decisions(run: Run) -> dict[str, Decision]:
    """The standing decision of each decided sample of a run."""
    journal = open_journal(run)
    try:
        return journal.decisions()
    finally:
        journal.close()
