"""The tables of tags and saved views, beside the journal's own in the same database.

Rows are only ever appended: the last one about a sample and tag, or about a view's name, is what stands.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text

_meta = MetaData()
#: one row each time that a sample gets a tag (``present`` is 1) or loses it (0)
TAGS = Table(
    "tag",
    _meta,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(32), nullable=False, server_default=""),
    Column("time", String(40), nullable=False),
    Column("reviewer", String(80), nullable=False),
    Column("sample", String(12), nullable=False),
    Column("tag", String(60), nullable=False),
    Column("present", Integer, nullable=False),
)
Index("tag_of_run", TAGS.c.run, TAGS.c.seq)
#: one row each time that a view is saved, as JSON, or removed (``definition`` is NULL)
VIEWS = Table(
    "saved_view",
    _meta,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(32), nullable=False, server_default=""),
    Column("time", String(40), nullable=False),
    Column("reviewer", String(80), nullable=False),
    Column("name", String(80), nullable=False),
    Column("definition", Text),
)
Index("saved_view_of_run", VIEWS.c.run, VIEWS.c.seq)
