"""The Review page in a real browser: keys, versions, re-edits, many at once, several reviewers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.engine import OpenRun, open_run
from tests.ui.browser import (
    Server,
    Steps,
    eventually,
    open_page,
    place,
    settled,
    showing,
    type_in,
    wait_place,
)

pytestmark = pytest.mark.browser


def test_sixty_pairs_by_keyboard_a_reload_and_ten_undone(
    chromium: Any, wide_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(wide_run, run)
    engine = open_run(run)
    classes = engine.training.classes
    with Server(run) as server:
        order = list(engine.queue["id"])
        assert len(order) > 60
        page = open_page(chromium, server)
        assert place(page) == f"1 of {len(order)}"
        keys = [("a", "accept"), ("r", "reject"), ("k", "keep"), ("d", "drop"), ("l", "relabel")]
        for half in range(2):
            for i in range(30):
                row = engine.queue.loc[showing(page)]
                key = keys[i % len(keys)][0]
                if key == "l" and row["judge_class_before"] == row["label"]:  # nothing suggests one
                    key = str((classes.index(row["label"]) + 1) % len(classes) + 1)
                page.keyboard.press(key)
                wait_place(page, f"{i + 2} of ")
            if half == 0:
                page.reload()  # in the middle: what is left comes up
                page.wait_for_selector("#review-pair img")
                wait_place(page, f"1 of {len(order) - 30}")
                assert showing(page) == order[30]
        decisions = engine.review.decisions()
        assert {s: d.action for s, d in decisions.items()} == {
            s: keys[i % 5][1] for i, s in enumerate(order[:60])
        }
        assert all(d.looked and d.mode == "open" for d in decisions.values())
        for taken in range(10):
            page.keyboard.press("u")
            eventually(lambda n=taken: len(engine.review.decisions()) == 59 - n)  # type: ignore[misc]
            page.wait_for_function("s => location.search.includes(s)", arg=order[59 - taken])
        page.keyboard.press("y")
        eventually(lambda: len(engine.review.decisions()) == 51)
        assert set(engine.review.decisions()) == set(order[:51])
        page.close()


def test_typing_a_comment_decides_nothing_and_the_comment_is_kept(
    chromium: Any, own: Server
) -> None:
    engine = open_run(own.run)
    page = open_page(chromium, own)
    page.keyboard.press("c")
    page.keyboard.type("a dark drink <b>")
    page.keyboard.press("Escape")
    assert engine.review.decisions() == {}
    page.keyboard.press("s")
    eventually(lambda: len(engine.review.decisions()) == 1)
    (said,) = engine.review.decisions().values()
    assert said.action == "second_look" and said.comment == "a dark drink <b>"
    page.close()


def test_a_digit_relabels_to_the_class_of_that_number(chromium: Any, own: Server) -> None:
    engine = open_run(own.run)
    page = open_page(chromium, own)
    sample = showing(page)
    train = engine.training
    assigned = train.sample(train.position(sample)).label_index
    other = (assigned + 1) % len(train.classes)
    page.keyboard.press(str(other + 1))
    wait_place(page, "2 of ")
    assert engine.review.decisions()[sample].new_label == train.classes[other]
    page.keyboard.press("9")  # no such class
    settled(page)
    assert len(engine.review.decisions()) == 1 and place(page).startswith("2 of")
    page.close()


def test_pictures_come_by_id_and_all_views_work_by_key(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    assert page.evaluate(
        "[...document.querySelectorAll('#review-pair img')].every(i => i.complete && i.naturalWidth > 0)"
    )
    visible = "s => getComputedStyle(document.querySelector(s)).opacity"
    page.keyboard.down("b")
    assert page.evaluate(visible, ".di-over") == "1"
    page.keyboard.up("b")
    assert page.evaluate(visible, ".di-over") == "0"
    page.keyboard.press("w")
    cut = page.locator(".di-cut")
    cut.focus()
    page.keyboard.press("End")
    assert cut.input_value() == "100"
    clip = page.evaluate("getComputedStyle(document.querySelector('.di-over')).clipPath")
    assert clip == "inset(0px 0% 0px 0px)", "the original covers the picture up to the cut"
    page.keyboard.press("w")
    assert not cut.is_visible()
    page.keyboard.press("z")
    zooms = page.evaluate(
        "[...document.querySelectorAll('#review-pair .di-face')].map(i => getComputedStyle(i).transform)"
    )
    assert len(set(zooms)) == 1 and "1.5" in zooms[0]
    page.keyboard.press("0")
    page.keyboard.press("h")
    page.wait_for_selector("#review-pair.di-heat-large")
    page.keyboard.press("h")
    page.close()


def test_the_address_names_the_pair_and_opens_it(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.keyboard.press("ArrowRight")
    wait_place(page, "2 of")
    sample = showing(page)
    page.wait_for_function("s => location.search.includes(s)", arg=sample)
    other = open_page(chromium, server, f"?run=run&sample={sample}")
    assert showing(other) == sample
    other.close()
    page.goto(f"{server.address}?run=elsewhere&sample={sample}")
    page.wait_for_selector("#review-head :text('diffinf review elsewhere')")
    page.goto(f"{server.address}?sample=%3Cb%3E'; drop")
    page.wait_for_selector("#review-message :text('There is no training sample')")
    wait_place(page, "1 of")
    page.keyboard.press("ArrowRight")
    wait_place(page, "2 of")
    page.close()


def test_filters_narrow_the_queue(chromium: Any, server: Server) -> None:
    engine = open_run(server.run)
    queue = engine.queue
    page = open_page(chromium, server)

    def choose(element: str, value: str) -> None:
        page.click(f"#{element} input")
        page.fill(f"#{element} input", value)
        page.keyboard.press("Enter")

    label = str(queue["label"].iloc[0])
    choose("filter-label", label)
    wait_place(page, f"1 of {(queue['label'] == label).sum()}")
    page.click("#more-filters button")
    page.locator("#filter-low input, #filter-low textarea").press_sequentially("0.5")
    both = (queue["label"] == label) & (queue["judge_after"] >= 0.5)
    if both.any():
        wait_place(page, f"1 of {both.sum()}")
    else:
        page.wait_for_selector("#review-head :text('Nothing here')")
    page.close()


def test_keys_can_be_changed_and_are_shown(chromium: Any, own: Server) -> None:
    engine = open_run(own.run)
    page = open_page(chromium, own)
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("a")  # decides nothing while the sheet is open
    page.click("dialog [data-name=accept]")
    page.keyboard.press("r")
    page.wait_for_selector("dialog :text('R is taken')")
    page.click("dialog [data-name=accept]")
    page.keyboard.press("q")
    page.wait_for_selector("dialog :text('Q: accept')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert engine.review.decisions() == {}
    page.keyboard.press("a")
    page.keyboard.press("q")
    wait_place(page, "2 of ")
    assert [d.action for d in engine.review.decisions().values()] == ["accept"]
    page.reload()
    page.wait_for_selector("#do-accept[data-key=Q], #do-accept [data-key=Q]")
    page.close()


def test_the_tour_comes_once_and_by_its_button(chromium: Any, server: Server) -> None:
    context = chromium.fresh.new_context(viewport={"width": 1440, "height": 950})
    page = context.new_page()
    page.goto(server.address)
    page.wait_for_selector("dialog[open] :text('1 of 5')", timeout=60_000)
    for step in range(2, 6):
        page.keyboard.press("Enter")
        page.wait_for_selector(f"dialog[open] :text('{step} of 5')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    # the page looks for this name, and shows the tour at once or never
    page.add_init_script(
        """window.lookedFor = [];
        const look = Storage.prototype.getItem;
        Storage.prototype.getItem = function (name) {
          lookedFor.push(name);
          return look.call(this, name);
        };"""
    )
    page.reload()
    page.wait_for_selector("#review-pair img")
    page.wait_for_function("lookedFor.includes('diffinf-tour')")
    assert page.locator("dialog[open]").count() == 0
    page.click("#show-tour")
    page.wait_for_selector("dialog[open] :text('1 of 5')")
    context.close()


def test_keys_and_clicks_that_come_at_once_are_taken_in_their_order(
    chromium: Any, own: Server
) -> None:
    engine = open_run(own.run)
    page = open_page(chromium, own)

    def press(*keys: str) -> None:
        page.evaluate(
            "keys => keys.forEach(key => document.body.dispatchEvent("
            "new KeyboardEvent('keydown', {key, bubbles: true})))",
            list(keys),
        )

    press("k", "k")
    wait_place(page, "2 of ")
    second = showing(page)
    press("a", "u")  # decided and at once regretted
    eventually(
        lambda: len(engine.review.decisions()) == 2 or engine.review.stamps([second])[second] > 0
    )
    eventually(lambda: second not in engine.review.decisions())
    wait_place(page, "2 of ")
    assert len(engine.review.decisions()) == 1 and showing(page) == second
    page.keyboard.press("w")
    page.locator(".di-cut").focus()
    page.keyboard.press("End")
    page.dblclick("#do-keep")
    wait_place(page, "3 of ")
    settled(page)
    assert place(page).startswith("3 of") and len(engine.review.decisions()) == 2
    assert page.locator(".di-cut").input_value() == "100", "knob and cut stay together"
    press("ArrowRight", "ArrowLeft", "ArrowLeft")
    wait_place(page, "2 of ")
    settled(page)
    assert showing(page) == second
    page.close()


def _open_editor(page: Any) -> None:
    page.click("#reedit-tab")
    page.wait_for_selector("#do-reedit")


def _slide(page: Any, knob: str, value: str) -> None:
    type_in(page, f"#knob-{knob} input[type=number]", value)
    there = page.locator(f"#knob-{knob} input[type=range]")
    assert float(there.input_value()) == float(value)


def _lane_free(page: Any, engine: OpenRun) -> None:
    """Wait until every edit that was asked for is over: one of the pair on screen waits for them all."""
    sample = showing(page)
    made = len(engine.pictures.versions(sample))
    _slide(page, "steps", "2")
    page.click("#do-reedit")
    eventually(lambda: len(engine.pictures.versions(sample)) == made + 1, 90)


def test_re_edit_streams_keeps_versions_and_they_can_be_chosen(chromium: Any, own: Server) -> None:
    engine = open_run(own.run)
    page = open_page(chromium, own)
    sample = showing(page)
    _open_editor(page)
    _slide(page, "w_id", "3")
    page.click("#do-reedit")
    page.wait_for_function(
        "document.querySelectorAll('#versions [data-version]').length === 2", timeout=90_000
    )
    assert "w_id 3" in page.inner_text("#versions")
    first, second = engine.pictures.versions(sample)
    pressed = "#versions [aria-pressed=true]"
    assert page.get_attribute(pressed, "data-version") == second
    page.keyboard.press("[")
    page.wait_for_selector(f"{pressed}[data-version='{first}']")
    page.keyboard.press("]")
    page.wait_for_selector(f"{pressed}[data-version='{second}']")
    page.keyboard.press("a")
    wait_place(page, "2 of ")
    assert engine.review.decisions()[sample].version == second
    page.close()


def test_trying_several_keeps_each_and_proposes_one(chromium: Any, own: Server) -> None:
    page = open_page(chromium, own)
    _open_editor(page)
    page.click("#do-several")
    page.wait_for_selector("#review-message :text('Proposed')", timeout=120_000)
    names = page.locator("#versions [data-version]").all_inner_texts()
    assert len(names) == len(set(names)) >= 6
    assert any("guide_from seen" in n for n in names) and any("t0 " in n for n in names)
    assert place(page).startswith("1 of")
    page.close()


def test_a_cancelled_edit_leaves_no_version(chromium: Any, held: Server, steps: Steps) -> None:
    engine = open_run(held.run)
    page = open_page(chromium, held)
    sample = showing(page)
    _open_editor(page)
    _slide(page, "steps", "50")
    page.click("#do-reedit")
    page.wait_for_selector("#review-pair :text('editing, step')", timeout=60_000)
    page.click("#reedit-cancel")
    page.wait_for_selector("#review-message :text('Nothing was changed')")
    page.click("#reedit-cancel")
    page.wait_for_selector("#review-message :text('Nothing is being edited')")
    page.click("#do-reedit")
    steps.one()  # after which the first is over, and the second stands still
    page.wait_for_selector("#review-pair :text('editing, step')", timeout=60_000)
    page.click("#do-accept")
    page.wait_for_selector("#review-message :text('not finished')")
    assert engine.review.decisions() == {}, "what is shown is no version yet"
    page.click("#reedit-cancel")
    page.wait_for_selector("#review-message :text('Nothing was changed')")
    page.keyboard.press("k")
    wait_place(page, "2 of ")
    steps.go()
    _lane_free(page, engine)
    assert len(engine.pictures.versions(sample)) == 1
    page.close()


def test_moving_on_while_an_edit_streams_keeps_keys_on_the_pair_on_screen(
    chromium: Any, held: Server, steps: Steps
) -> None:
    engine = open_run(held.run)
    page = open_page(chromium, held)
    _open_editor(page)
    first = showing(page)
    _slide(page, "w_id", "2.5")
    page.click("#do-reedit")
    page.click("#go-next")
    wait_place(page, "2 of")
    second = showing(page)
    assert second != first
    page.click("#do-reject")  # a decision does not wait for the edit
    eventually(lambda: second in engine.review.decisions(), 5)
    assert len(engine.pictures.versions(first)) == 1, "the edit should still be running"
    steps.go()
    eventually(lambda: len(engine.pictures.versions(first)) == 2, 90)
    page.wait_for_selector("#review-message :text('is ready')")  # the last that it draws
    settled(page)
    assert place(page).startswith("3 of"), "the finished edit must not bring its pair back"
    page.close()


def test_edits_of_several_pairs_wait_for_each_other_and_cancel_ends_all(
    chromium: Any, held: Server, steps: Steps
) -> None:
    engine = open_run(held.run)
    page = open_page(chromium, held)
    _open_editor(page)
    _slide(page, "w_id", "2.5")
    order = list(engine.queue["id"])
    steps.go()
    for at in (1, 2):
        page.click("#do-reedit")
        page.keyboard.press("ArrowRight")
        wait_place(page, f"{at + 1} of")
    eventually(lambda: [len(engine.pictures.versions(s)) for s in order[:3]] == [2, 2, 1], 90)
    steps.stop()
    for at, button in ((3, "#do-several"), (4, "#do-reedit")):
        page.click(button)
        page.keyboard.press("ArrowRight")
        wait_place(page, f"{at + 1} of")
    page.click("#reedit-cancel")
    page.wait_for_selector("#review-message :text('Cancelled 2 edits')")
    steps.go()
    _lane_free(page, engine)
    assert [len(engine.pictures.versions(s)) for s in order[2:4]] == [1, 1]
    page.close()


def test_a_bulk_decision_is_previewed_applied_and_undone_at_once(
    chromium: Any, own: Server
) -> None:
    engine = open_run(own.run)
    n = len(engine.queue)
    page = open_page(chromium, own)
    page.click("#bulk-tab")
    page.click("#bulk-action input")
    page.fill("#bulk-action input", "keep")
    page.keyboard.press("Enter")
    page.click("#bulk-preview")
    page.wait_for_selector(f"#bulk-said :text('{n}')")
    assert engine.review.decisions() == {}, "a preview decides nothing"
    page.click("#bulk-apply")
    eventually(lambda: len(engine.review.decisions()) == n)
    page.wait_for_selector("#review-head :text('Every pair is decided')")
    page.locator("body").press("u")
    eventually(lambda: engine.review.decisions() == {})
    page.wait_for_selector("#review-pair img")
    page.close()


def test_two_reviewers_at_once_never_see_the_same_pair(chromium: Any, run_copy: Path) -> None:
    engine = open_run(run_copy)
    order = list(engine.queue["id"])
    windows = []
    with Server(run_copy, {"DIFFINF_LOGIN": "ann:secret one,bob:secret two"}) as server:
        for name, word in (("ann", "secret one"), ("bob", "secret two")):
            page = chromium.new_page(viewport={"width": 1440, "height": 950})
            page.goto(server.address)
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(word)
            page.keyboard.press("Enter")
            page.wait_for_selector("#review-pair img", timeout=60_000)
            windows.append(page)
        for _ in range(4):
            ann, bob = (showing(p) for p in windows)
            assert ann != bob
            for page, key in zip(windows, "ka", strict=True):
                before = showing(page)
                page.keyboard.press(key)
                page.wait_for_function(
                    "s => document.querySelector('#review-pair .di-pair')?.dataset.sample !== s",
                    arg=before,
                )
        decided = engine.review.decisions()
        assert len(decided) == 8 and {d.reviewer for d in decided.values()} == {"ann", "bob"}
        assert list(decided)[:2] == order[:2]
        ann, bob = windows
        now = showing(ann)
        ann.keyboard.press("ArrowLeft")  # back shows what is decided, and is not sent on again
        eventually(lambda: showing(ann) != now and showing(ann) in decided)
        bob.goto(f"{server.address}?sample={order[0]}")
        bob.wait_for_selector("#review-pair img", timeout=60_000)
        assert showing(bob) == order[0], "a link opens the pair it names"
        # what ann decides while bob looks is not replaced by a key of bob's
        ann.goto(f"{server.address}?sample={order[0]}")
        eventually(lambda: showing(ann) == order[0])
        before = engine.review.decisions()[order[0]].action
        action, key = ("drop", "d") if before != "drop" else ("keep", "k")
        ann.keyboard.press(key)
        eventually(lambda: engine.review.decisions()[order[0]].action == action)
        bob.keyboard.press("r")
        deed = "dropped" if action == "drop" else "kept"
        said = f"ann {deed} this picture while you looked; your decision was not saved."
        bob.wait_for_selector(f'#review-message :text("{said}")')
        assert engine.review.decisions()[order[0]].action == action


def test_endpoints_answer_programs(own: Server) -> None:
    client = pytest.importorskip("gradio_client").Client(own.address, verbose=False)
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/status", "/report", "/queue", "/next", "/decide", "/decisions", "/undo", "/redo", "/versions"
    }  # fmt: skip
    rows = client.predict(state="to do", start=0, count=3, api_name="/queue")
    assert [r["rank"] for r in rows] == sorted(r["rank"] for r in rows) and len(rows) == 3
    sample = rows[0]["id"]
    client.predict(sample, "accept", rows[0]["version"], "", "by a program", api_name="/decide")
    (said,) = client.predict(api_name="/decisions")
    assert said["sample"] == sample and said["comment"] == "by a program"
    assert client.predict(sample, api_name="/versions")[0]["version"] == rows[0]["version"]
    assert client.predict(api_name="/undo") == [sample]
    assert client.predict(api_name="/redo") == [sample]
    for given, complaint in (
        ((sample, "burn", "", "", ""), "Unknown decision"),
        (("../../etc", "keep", "", "", ""), "no training sample"),
        ((7, "keep", "", "", ""), "must be text"),
    ):
        with pytest.raises(Exception, match=complaint):
            client.predict(*given, api_name="/decide")
    assert json.dumps(client.predict(api_name="/report"))
    assert re.fullmatch(r"[0-9a-f]{12}", sample)
