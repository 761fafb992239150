"""What a page still sends although the server offers it no more: it is taken, reset, or refused in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from diffinf_core.config import change, to_yaml
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.ui.app import build
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.export.subset import SubsetChoice
from diffinf_core.ui.session import Session
from tests.ui.calls import Calls


@pytest.fixture
def session(run_copy: Path) -> Session:
    return Session(run_copy)


@pytest.fixture
def page(session: Session) -> Calls:
    return Calls(build(session))


def rows(answer: dict[str, Any]) -> int:
    return str(answer["explore-table"]).count("<tr") - 1


def test_a_tag_that_nothing_has_any_more_leaves_the_filter(session: Session, page: Calls) -> None:
    ids = session.run.training.ids.tolist()
    session.run.tags.put(ids[:3], "foo", "local")
    (opened,) = page.functions("explore", "select")
    page.send(opened)
    assert rows(page.send(opened, table_tag="foo")) == 3
    session.run.tags.put(ids[:3], "foo", "local", False)
    for _ in range(2):  # the answer itself takes the choice away
        answer = page.send(opened, table_tag="foo")
        assert answer["table-tag"]["value"] == "all" and rows(answer) > 3
    assert "value" not in page.send(opened)["table-tag"], (
        "what was chosen meanwhile would be undone"
    )
    (filtered,) = page.functions("explore-again", "click")
    assert "no samples" in page.send(filtered, table_tag="foo")["table-count"]


def test_a_tag_that_is_exported_and_gone_is_all_samples_again(
    session: Session, page: Calls
) -> None:
    ids = session.run.training.ids.tolist()
    session.run.tags.put(ids[:3], "bar", "local")
    (opened,) = page.functions("export", "select")
    page.send(opened)
    assert "3 pictures" in page.send(opened, export_only="tag bar")["export-preview"]
    session.run.tags.put(ids[:3], "bar", "local", False)
    for _ in range(2):
        answer = page.send(opened, export_only="tag bar")
        assert answer["export-only"]["value"] == ""
        assert f"{len(ids)} pictures" in answer["export-preview"]


def test_only_tags_and_views_name_samples_to_export() -> None:
    assert SubsetChoice.named("tag a b") == {"tag": "a b"} and not SubsetChoice.named("")
    with pytest.raises(DiffInfError, match="no choice of samples"):
        SubsetChoice.named("format hf")


@pytest.mark.parametrize("group", ["x", "3", "[1]", 5])
def test_what_is_no_subgroup_is_refused(group: Any) -> None:
    with pytest.raises(DiffInfError, match="no subgroup"):
        Filters.view("all", group, "", "all", "all", "all", "all", False, "", "rank", False)


@pytest.mark.parametrize("typed", [0, 9, 2.5, None])
def test_a_page_that_is_not_there_does_not_stop_a_filter(page: Calls, typed: Any) -> None:
    (opened,) = page.functions("explore", "select")
    page.send(opened)  # from here on the server knows how many pages there are
    (filtered,) = page.functions("explore-again", "click")
    assert page.send(filtered, table_page=typed)["table-page"]["value"] == 1
    (turned,) = page.functions("table-page", "submit")
    assert page.send(turned, table_page=typed)["table-page"]["value"] >= 1


def test_the_clock_of_explore_asks_for_no_page_of_pairs(session: Session, page: Calls) -> None:
    tick = page.tick("explore-pairs")
    assert "pairs-page" not in [getattr(block, "elem_id", None) for block in tick.inputs]
    session.jobs.start("duplicates", lambda: iter([Progress("duplicates", 1, 1, "done")]))
    session.jobs.wait(30)
    assert "pairs-words" in page.send(tick)


def test_after_a_restart_a_decision_counts(session: Session, page: Calls) -> None:
    row = session.run.queue.iloc[0]
    sample, classes = str(row["id"]), session.run.training.classes
    other = next(name for name in classes if name != row["label"])
    showing = f"{sample} {row['version']} 0 decide open"
    for name, action in (("do-keep", "keep"), ("do-relabel", "relabel")):
        page.forget()
        (pressed,) = page.functions(name, "click")
        page.send(pressed, review_showing=showing, new_label=other, auto_advance=True)
        standing = session.run.review.decisions()[sample]
        assert standing.action == action
        showing = (
            f"{sample} {row['version']} {session.run.review.stamps([sample])[sample]} decide open"
        )


def test_a_class_that_the_run_does_not_have_is_no_new_label(session: Session, page: Calls) -> None:
    row = session.run.queue.iloc[0]
    (pressed,) = page.functions("do-relabel", "click")
    showing = f"{row['id']} {row['version']} 0 decide open"
    answer = page.send(pressed, review_showing=showing, new_label="cat", auto_advance=True)
    assert "is not a class" in answer["review-message"]
    assert not session.run.review.decisions()


def test_after_a_restart_filters_and_figures_answer(session: Session, page: Calls) -> None:
    label = str(session.run.queue["label"].iloc[0])
    filtered, *_ = page.functions("filter-label", "input")
    answer = page.send(filtered, filter_label=label, filter_group="sex = f")
    assert "Nothing here" in answer["review-head"]
    answer = page.send(filtered, filter_label=label, filter_reviewer="ann")
    assert "Nothing here" in answer["review-head"]
    page.send(page.tick("compare-arm"), compare_arm="repaired", compare_against="noisy")
    (turned,) = page.functions("compare-later", "click")
    page.send(turned, compare_arm="a", compare_against="b", compare_direction="gained")
    (opened,) = page.functions("explore", "select")
    answer = page.send(opened, disagree_first="self_influence", disagree_second="mean_loss")
    assert rows(answer) > 0
    (compared,) = page.functions("disagree-first", "input")
    assert page.send(compared, disagree_first="self_influence", disagree_second="mean_loss")
    (looked,) = page.functions("unseen-preview", "click")
    assert "1 or more" in page.send(looked, unseen_count=0)["unseen-words"]


def test_after_a_restart_settings_that_changed_elsewhere_are_not_overwritten(
    session: Session, page: Calls
) -> None:
    (taken_back,) = page.functions("form-undo", "click")
    filled = page.send(taken_back)
    known = {"settings_base": filled["settings-base"], "run_config": filled["run-config"]}
    session.configure(change(session.stored(), {"influence": {"tau": 20}}))
    page.forget()
    (saved,) = page.functions("run-save", "click")
    answer = page.send(saved, **known)
    assert "changed elsewhere" in answer["form-message"] and session.stored().influence.tau == 20
    filled = page.send(taken_back)
    yaml = filled["run-config"].replace("tau: 20", "tau: 30")
    page.forget()
    answer = page.send(saved, settings_base=filled["settings-base"], run_config=yaml)
    assert "Saved" in answer["form-message"] and session.stored().influence.tau == 30


def test_after_a_restart_the_open_part_of_explore_is_filled(page: Calls) -> None:
    (opened,) = page.functions("explore", "select")
    (part,) = page.functions("groups", "select")
    inner = page.send(part)["explore-inner"]
    page.forget()
    answer = page.send(opened, explore_inner=inner)
    assert "<table" in str(answer["groups-tables"])
    assert "<table" not in str(page.send(opened)["groups-tables"]), "another part is open"


def test_settings_of_a_run_that_was_made_since_are_not_overwritten_unseen(
    session: Session, page: Calls
) -> None:
    """The page was opened before there was a run, and the server began anew after it was made."""
    (saved,) = page.functions("run-save", "click")
    yaml = to_yaml(change(session.stored(), {"influence": {"tau": 40}}))
    answer = page.send(saved, settings_base="", run_config=yaml)
    assert "changed elsewhere" in answer["form-message"] and session.stored().influence.tau != 40


def test_after_a_restart_a_displayed_version_is_known(session: Session, page: Calls) -> None:
    sample = str(session.run.queue["id"].iloc[0])
    for _ in session.run.repair.edit(sample, {"guide_from": "seen", "guidance": 4.0}):
        pass
    second = session.run.pictures.versions(sample)[1]
    (chosen,) = page.functions("reedit-preset", "input")
    given = {"reedit_preset": "displayed version"}
    answer = page.send(chosen, review_showing=f"{sample} {second} 0 decide open", **given)
    assert answer["knob-guidance"]["value"] == 4 and "guide_from seen" in answer["reedit-note"]
    answer = page.send(chosen, review_showing=f"{sample} editing 0 decide open", **given)
    assert answer["reedit-preset"] == "run default" and "No version" in answer["reedit-note"]


def test_after_a_restart_the_next_page_of_pictures_is_the_next(
    session: Session, page: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = session.run.compare
    ids = session.run.training.ids.tolist()
    rows_ = pd.DataFrame({"id": ids})
    monkeypatch.setattr(type(compare), "changed", lambda *_: rows_)
    monkeypatch.setattr(type(compare), "test_pictures", lambda *_: [])
    monkeypatch.setattr(
        type(compare), "comparison", lambda _: SimpleNamespace(measured=SimpleNamespace(seeds=1))
    )
    monkeypatch.setattr("diffinf_core.ui.compare.markup.cards", lambda *_: "")
    asked = {"compare_arm": "a", "compare_against": "b", "compare_direction": "gained"}
    (later,) = page.functions("compare-later", "click")
    assert "Page 2" in page.send(later, compare_page=0, **asked)["compare-found"]
    page.forget()
    assert "Page 3" in page.send(later, compare_page=1, **asked)["compare-found"]
