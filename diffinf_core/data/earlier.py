"""What the rounds before a round did to its samples, read from the tables that each of them left."""

from __future__ import annotations

from diffinf_core.data.ingest import DATA
from diffinf_core.data.lineage import FILE, ancestors, checked_home, number
from diffinf_core.records import Earlier
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.tables import read_table


def earlier_changes(run: Run) -> list[Earlier]:
    """What the rounds before this one repaired, relabelled and dropped, in their order."""
    out: list[Earlier] = []
    chain = ancestors(run)
    if len(chain) == 1:
        return out
    numbers = {r.root.name if (r.root / FILE).exists() else "": number(r) for r in chain}
    tables = [read_table(DATA.folder(r) / "samples.csv") for r in chain]
    for before, old, new in zip(chain, tables, tables[1:], strict=False):
        made = number(before)
        relabelled = (old["label"] != new["label"]).to_numpy()
        dropped = ((new["split"] == "dropped") & (old["split"] != "dropped")).to_numpy()
        for i in relabelled.nonzero()[0]:
            labels = {"before": str(old["label"][i]), "after": str(new["label"][i])}
            out.append(Earlier(str(old["id"][i]), made, "relabelled", **labels))
        out += [Earlier(str(old["id"][i]), made, "dropped") for i in dropped.nonzero()[0]]
    for sample, (home, version) in read_json(run.root / FILE)["earlier"].items():
        made = numbers.get(checked_home(run.root / FILE, home), 1)
        out.append(Earlier(sample, made, "repaired", version=version))
    return sorted(out, key=lambda e: e.round)
