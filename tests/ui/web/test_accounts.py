"""Names with hashed passwords: the file, the environment, the command line, and guessing slowed."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffinf_core.records import DiffInfError
from diffinf_core.ui.web import accounts as module
from diffinf_core.ui.web.accounts import (
    USERS_FILE,
    Accounts,
    Secret,
    checked_name,
    given_users,
    read_users,
    write_users,
)
from diffinf_core.ui.web.login import IDLE, MOST_TOKENS, Tokens, onward
from diffinf_core.ui.web.throttle import FREE_FAILURES, LONGEST_WAIT, MEMORY, MOST_KEYS, Throttle


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of a millisecond, and no user from outside."""
    real = Secret.__init__
    monkeypatch.setattr(
        Secret, "__init__", lambda self, salt, key, n=16, r=8, p=1: real(self, salt, key, n, r, p)
    )
    monkeypatch.delenv(module.LOGIN_VARIABLE, raising=False)
    monkeypatch.delenv(module.USERS_VARIABLE, raising=False)


# ---------------------------------------------------------------- passwords


def test_a_password_fits_its_own_hash_only_and_two_hashes_of_it_differ() -> None:
    first, second = Secret.of("a good password"), Secret.of("a good password")
    assert first.fits("a good password") and second.fits("a good password")
    assert first.salt != second.salt and first.key != second.key
    for wrong in ("", "a good passwor", "a good password ", "A good password"):
        assert not first.fits(wrong)


def test_an_accent_is_the_same_however_a_keyboard_composes_it() -> None:
    assert Secret.of("caf\u00e9 au lait").fits("cafe\u0301 au lait")


# HMAC fills a key up with zeros; nobody can type one
TYPED = st.text(st.characters(exclude_characters="\0"), max_size=30)


@given(TYPED, TYPED)
def test_only_equal_passwords_fit(one: str, other: str) -> None:
    import unicodedata

    same = unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other)
    assert Secret.of(one).fits(other) == same


@pytest.mark.parametrize(
    "costs", [{"n": 0}, {"n": 3}, {"n": 2**25}, {"n": "16"}, {"r": -1}, {"r": 10**9}, {"p": 10**9}]
)
def test_a_hash_with_absurd_costs_is_not_computed(costs: dict) -> None:
    good = Secret.of("a good password")
    with pytest.raises((ValueError, TypeError)):
        Secret(good.salt, good.key, **costs)


@pytest.mark.parametrize("name", ["", " ", "a:b", "a,b", "a\nb", "x" * 81, "\x1b[31m", "a\u202eb"])
def test_a_name_that_is_none_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(DiffInfError) as caught:
        checked_name(name)
    assert str(caught.value).isprintable()


# ---------------------------------------------------------------- the file


def test_the_file_is_for_its_owner_alone_and_holds_no_password(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    write_users(file, {"ann": Secret.of("a good password")})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "good" not in file.read_text()
    assert read_users(file)["ann"].fits("a good password")
    assert [p.name for p in tmp_path.iterdir()] == ["users.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"users": 3}', '{"users": {"ann": {}}}', '{"users": {"ann": "x"}}',
     '{"users": {"a:b": {"salt": "00", "key": "00"}}}',
     '{"users": {"ann": {"salt": "zz", "key": "00", "n": 16}}}'],
)  # fmt: skip
def test_a_file_that_is_no_file_of_users_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "users.json"
    file.write_text(content)
    with pytest.raises(DiffInfError, match="is not a file of users") as caught:
        Accounts({}, file)
    assert str(file) in str(caught.value)


def test_users_come_from_the_environment_and_the_file_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Accounts.of_run(tmp_path) is None
    write_users(tmp_path / "users.json", {"ann": Secret.of("from the file")})
    monkeypatch.setenv(module.LOGIN_VARIABLE, "bob:with:colon")
    found = Accounts.of_run(tmp_path)
    assert found is not None
    assert found.check("ann", "from the file") == "ann"
    assert found.check(" bob ", "with:colon") == "bob"
    for name, password in [("ann", "with:colon"), ("bob", "with"), ("eve", ""), ("", "")]:
        assert found.check(name, password) is None


def test_a_named_file_counts_before_the_one_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_users(tmp_path / "users.json", {"ann": Secret.of("a good password")})
    write_users(tmp_path / "other.json", {"bob": Secret.of("a good password")})
    monkeypatch.setenv(module.USERS_VARIABLE, str(tmp_path / "other.json"))
    found = Accounts.of_run(tmp_path)
    assert found is not None and found.stamp("bob") and found.stamp("ann") is None
    monkeypatch.setenv(module.USERS_VARIABLE, str(tmp_path / "nowhere.json"))
    with pytest.raises(DiffInfError, match=r"nowhere\.json"):
        Accounts.of_run(tmp_path)


def test_the_environment_holds_pairs_or_is_refused_without_saying_what_it_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(module.LOGIN_VARIABLE, "ann:secret,bob:x:y")
    assert given_users() == [("ann", "secret"), ("bob", "x:y")]
    for wrong in ("nonsense", "ann:", ":secret", "ann:secret,"):
        monkeypatch.setenv(module.LOGIN_VARIABLE, wrong)
        with pytest.raises(DiffInfError, match="name:password") as caught:
            given_users()
        assert "secret" not in str(caught.value)


def test_a_file_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "users.json"
    write_users(file, {"ann": Secret.of("a good password")})
    Accounts.of_run(tmp_path)
    assert not caplog.records
    file.chmod(0o644)
    Accounts.of_run(tmp_path)
    assert "chmod 600" in caplog.text


def test_a_change_of_the_file_counts_at_once_and_a_broken_one_locks_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "users.json"
    write_users(file, {"ann": Secret.of("a good password")})
    found = Accounts({}, file)
    before = found.stamp("ann")
    write_users(file, {"ann": Secret.of("another password"), "bob": Secret.of("a good password")})
    assert found.stamp("ann") not in (before, None) and found.stamp("bob")
    assert found.check("ann", "a good password") is None
    file.write_text("{")
    assert found.stamp("ann") is None and found.check("bob", "a good password") is None
    assert len([r for r in caplog.records if "locked out" in r.message]) == 1
    write_users(file, {"ann": Secret.of("another password")})
    assert found.check("ann", "another password") == "ann"
    file.unlink()
    assert found.check("ann", "another password") is None


def test_an_unknown_name_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Accounts({"ann": "a good password"})
    derived = []
    real = Secret._derive
    monkeypatch.setattr(
        Secret,
        "_derive",
        lambda self, text: derived.append((self.n, self.r, self.p)) or real(self, text),
    )
    found.check("ann", "wrong")
    found.check("nobody", "wrong")
    assert len(derived) == 2 and derived[0] == derived[1]


# ---------------------------------------------------------------- tokens


def test_a_token_is_for_one_user_until_it_was_idle_for_too_long() -> None:
    clock = Clock()
    tokens = Tokens(Accounts({"ann": "a good password"}), clock)
    token, other = tokens.open("ann"), tokens.open("ann")
    assert token != other and len(token) >= 40
    for _ in range(3):
        clock.now += IDLE - 1
        assert tokens.name(token) == "ann"
    assert tokens.name(other) is None
    clock.now += IDLE + 1
    assert tokens.name(token) is None and tokens.name(token) is None
    for wrong in (None, "", "x", token[:-1], "\udcff"):
        assert tokens.name(wrong) is None


def test_a_token_ends_with_the_user_or_the_password(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    write_users(file, {n: Secret.of("a good password") for n in ("ann", "bob", "eve")})
    tokens = Tokens(Accounts({}, file))
    ann, bob, eve = tokens.open("ann"), tokens.open("bob"), tokens.open("eve")
    users = read_users(file)
    write_users(file, {"ann": users["ann"], "bob": Secret.of("another password")})
    assert tokens.name(ann) == "ann" and tokens.name(bob) is None and tokens.name(eve) is None


def test_the_number_of_tokens_is_bounded_and_they_are_not_kept_as_they_are() -> None:
    tokens = Tokens(Accounts({"ann": "a good password"}))
    first = tokens.open("ann")
    for _ in range(MOST_TOKENS):
        last = tokens.open("ann")
    assert len(tokens) == MOST_TOKENS
    assert tokens.name(first) is None and tokens.name(last) == "ann"
    assert last not in repr(vars(tokens))
    tokens.close(last)
    assert tokens.name(last) is None


@pytest.mark.parametrize(
    "target,kept",
    [("/", "/"), ("/?sample=ab", "/?sample=ab"), ("//evil.example", "/"), ("https://evil.example", "/"),
     ("/\\evil.example", "/"), ("/a\r\nSet-Cookie: x", "/"), ("", "/"), ("/logout", "/"), ("/login", "/")],
)  # fmt: skip
def test_a_log_in_leads_on_within_the_app_only(target: str, kept: str) -> None:
    assert onward(target) == kept


# ---------------------------------------------------------------- guessing


def test_five_failures_are_free_then_each_wait_is_longer_up_to_five_minutes() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE_FAILURES):
        assert throttle.begin(["name ann"]) == 0
    waits = []
    for _ in range(9):
        wait = throttle.begin(["name ann"])
        assert wait > 0 and throttle.begin(["name ann"]) == wait  # refused ones do not count
        waits.append(wait)
        clock.now += wait + 0.01
        assert throttle.begin(["name ann"]) == 0
    assert waits[:3] == pytest.approx([5, 10, 20], abs=0.1)
    assert waits == sorted(waits) and max(waits) == LONGEST_WAIT


def test_one_address_is_slowed_whatever_names_it_tries_and_one_name_from_wherever() -> None:
    throttle = Throttle(Clock())
    waits = [throttle.begin([f"name {i}", "address 1"]) for i in range(6)]
    assert waits[:5] == [0] * 5 and waits[5] > 0
    throttle = Throttle(Clock())
    waits = [throttle.begin(["name ann", f"address {i}"]) for i in range(6)]
    assert waits[:5] == [0] * 5 and waits[5] > 0
    assert throttle.begin(["name bob", "address 9"]) == 0


def test_success_frees_the_name_but_not_the_address_of_who_guessed_others() -> None:
    throttle = Throttle(Clock())
    for _ in range(4):
        throttle.begin(["name ann", "address 1"])
    assert throttle.begin(["name eve", "address 1"]) == 0
    throttle.succeed("name eve", "address 1")
    assert throttle.begin(["name ann", "address 1"]) == 0
    assert throttle.begin(["name bob", "address 1"]) > 0
    assert throttle.begin(["name eve", "address 2"]) == 0


def test_failures_are_forgotten_after_a_while_and_memory_is_bounded() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE_FAILURES):
        throttle.begin(["name ann"])
    clock.now += MEMORY + 1
    for _ in range(FREE_FAILURES):
        assert throttle.begin(["name ann"]) == 0
    for i in range(MOST_KEYS + 100):
        throttle.begin([f"name {i}"])
    assert len(throttle) == MOST_KEYS


def test_a_flood_of_names_does_not_free_a_name_that_waits() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for i in range(FREE_FAILURES):
        throttle.begin(["name ann", f"address {i}"])
    for i in range(MOST_KEYS + 100):  # from one address, which soon has to wait
        throttle.begin([f"name {i}", "address x"])
    assert throttle.begin(["name ann", "address y"]) > 0
    for i in range(2 * MOST_KEYS):  # from as many addresses as there are names
        throttle.begin([f"name other {i}", f"address other {i}"])
    assert throttle.begin(["name ann", "address z"]) > 0 and len(throttle) == MOST_KEYS


def test_a_file_without_users_locks_everybody_out(tmp_path: Path) -> None:
    file = tmp_path / USERS_FILE
    assert Accounts.of_run(tmp_path) is None
    write_users(file, {"ann": Secret.of("a good password")})
    write_users(file, {})
    accounts = Accounts.of_run(tmp_path)
    assert accounts is not None and accounts.check("ann", "a good password") is None


# ---------------------------------------------------------------- the command line


def users(*arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run 'diffinf users'."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DIFFINF_")}
    return subprocess.run(
        [sys.executable, "-m", "diffinf_core.cli", "users", *arguments],
        input=text,
        capture_output=True,
        text=True,
        env=environment | variables,
    )


def test_users_are_added_listed_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    done = users("add", "ann", "--file", str(file), "--password-stdin", text="a good password\n")
    assert done.returncode == 0 and "ann may log in" in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Accounts({}, file).check("ann", "a good password") == "ann"
    assert json.loads(file.read_text())["users"]["ann"]["n"] == 2**15
    assert users("list", DIFFINF_USERS=str(file)).stdout == "ann\n"
    assert users("remove", "ann", DIFFINF_USERS=str(file)).returncode == 0
    assert read_users(file) == {}
    again = users("remove", "ann", "--file", str(file))
    assert again.returncode == 2 and "no user 'ann'" in again.stderr


@pytest.mark.parametrize(
    "arguments,text,said",
    [
        (["add", "ann"], "", "Say which file of users"),
        (["add", "a:b", "--file", "FILE", "--password-stdin"], "a good password", "no colon"),
        (["add", "ann", "--file", "FILE", "--password-stdin"], "short", "8 to 1000 characters"),
        (["add", "ann", "--file", "FILE", "--password-stdin"], "", "8 to 1000 characters"),
        (
            ["add", "ann", "--run", "NO", "--password-stdin"],
            "a good password",
            "is not a run folder",
        ),
    ],
)
def test_a_user_that_cannot_be_added_is_one_sentence(
    tmp_path: Path, arguments: list[str], text: str, said: str
) -> None:
    file = tmp_path / "users.json"
    done = users(*[a.replace("FILE", str(file)) for a in arguments], text=text)
    assert done.returncode == 2 and said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not file.exists()
    assert text == "" or text not in done.stderr


def test_asking_twice_takes_equal_passwords_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffinf_core.cli import users as cli_users

    file = tmp_path / "users.json"
    hidden = []

    def prompt(answers: list[str]):
        def ask(_: str, **options: bool) -> str:
            hidden.append(options["hide_input"])
            return answers.pop(0)

        return ask

    monkeypatch.setattr(cli_users.typer, "prompt", prompt(["a good password", "a god password"]))
    with pytest.raises(DiffInfError, match="differ"):
        cli_users.add("ann", file)
    assert not file.exists()
    monkeypatch.setattr(cli_users.typer, "prompt", prompt(["a good password"] * 2))
    cli_users.add("ann", file)
    assert hidden == [True] * 4 and read_users(file)["ann"].fits("a good password")


def test_the_log_is_quiet_where_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Accounts({"ann": "a good password"}).check("ann", "a good password")
    assert not caplog.records
