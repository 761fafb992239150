"""What stands about one sample, and what counts as an independent opinion."""

from __future__ import annotations

from diffinf_core.records import Decision
from diffinf_core.review.verdict import weigh


def said(*words: str) -> list[Decision]:
    """ "ann keep", "bob drop second" as decisions."""
    out = []
    for word in words:
        who, action, *role = word.split()
        out.append(Decision("s", action, who, "t", role=role[0] if role else "decide"))
    return out


def test_after_adjudication_opinions_count_afresh() -> None:
    course = said("ann keep", "bob drop second", "cem keep adjudicate")
    assert weigh(course).standing.reviewer == "cem" and not weigh(course).conflict
    later = weigh([*course, *said("dan drop second")])
    assert [d.reviewer for d in later.conflict] == ["cem", "dan"]
    changed = weigh([*course, *said("ann drop")])
    assert (changed.standing.action, changed.standing.reviewer) == ("drop", "ann")


def test_every_second_opinion_must_agree() -> None:
    found = weigh(said("ann keep", "bob keep second", "cem drop second"))
    assert [d.reviewer for d in found.conflict] == ["ann", "cem"]
    assert found.standing.action == "second_look" and "ann and cem" in found.standing.comment
    assert not weigh(said("ann keep", "bob keep second", "cem keep second")).conflict


def test_without_a_first_opinion_the_second_takes_its_place() -> None:
    found = weigh(said("bob drop second"))
    assert found.standing.action == "drop" and not found.conflict and not found.independent


def test_a_change_of_mind_is_no_independent_opinion() -> None:
    course = said("ann drop", "ann keep", "bob drop second")
    told = {who: d.action for who, d in weigh(course).independent.items()}
    assert told == {"ann": "keep", "bob": "drop"}
    for more in ("ann drop", "bob keep second", "cem keep adjudicate", "bob keep"):
        changed = weigh([*course, *said(more)])
        assert {who: d.action for who, d in changed.independent.items()} == told, more


def test_what_was_only_replaced_is_not_independent() -> None:
    assert weigh(said("ann drop", "bob keep")).independent == {}
    assert weigh(said("ann drop", "bob keep", "cem keep second")).independent.keys() == {
        "bob",
        "cem",
    }
    assert weigh(said("ann drop", "bob keep adjudicate", "cem keep second")).independent == {}
