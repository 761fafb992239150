"""What is computed once per key: by one thread, again for another key, and never half."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffinf_core.engine import cache as module
from diffinf_core.engine.cache import Cache


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40))
def test_a_value_is_made_only_where_the_key_of_its_name_changed(
    asked: list[tuple[str, str]],
) -> None:
    cache, made, known = Cache(), 0, {}
    expected = 0
    for name, key in asked:

        def make(name: str = name, key: str = key) -> str:
            nonlocal made
            made += 1
            return name + key

        expected += known.get(name) != key
        known[name] = key
        assert cache.get(name, key, make) == name + key and made == expected


def test_what_fails_is_not_kept() -> None:
    cache = Cache()
    with pytest.raises(ZeroDivisionError):
        cache.get("a", "x", lambda: 1 / 0)
    assert cache.get("a", "x", lambda: 2) == 2


def test_a_key_that_fails_leaves_the_value() -> None:
    cache = Cache()
    first = cache.get("a", "x", object)
    with pytest.raises(ZeroDivisionError):
        cache.recent("a", lambda: str(1 / 0), object, 0)
    assert cache.get("a", "x", object) is first


def test_a_costly_key_is_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, now, asked = Cache(), [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def key() -> str:
        asked.append(now[0])
        return f"{now[0] > 101:d}"

    first = cache.recent("a", key, object, 1.0)
    now[0] = 100.9
    assert cache.recent("a", key, object, 1.0) is first and asked == [100.0]
    now[0] = 101.0
    assert cache.recent("a", key, object, 1.0) is first, "asked, and still the present one"
    now[0] = 102.0
    assert cache.recent("a", key, object, 1.0) is not first and asked == [100.0, 101.0, 102.0]


def test_threads_that_ask_at_once_get_the_one_value_that_is_made() -> None:
    cache, begun, go, out = Cache(), threading.Event(), threading.Event(), []

    def make() -> object:
        begun.set()
        assert go.wait(30)
        return object()

    threads = [
        threading.Thread(target=lambda: out.append(cache.get("a", "x", make))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    assert cache.get("b", "x", lambda: 1) == 1, "another name does not wait"
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(out) == 4 and len(set(map(id, out))) == 1
