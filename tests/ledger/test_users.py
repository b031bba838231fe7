"""Accounts, log-ins, licences: who is who, on both databases."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update
from tests.server.people import CHEAP

from terrazzo.ledger import LOCAL, Database
from terrazzo.ledger import passwords as hashing
from terrazzo.ledger import tokens as logins
from terrazzo.ledger.clock import after
from terrazzo.ledger.licences import (
    LicenceInvalid,
    LicenceUnknown,
    accept_licence,
    licences,
    set_licence,
    withdraw_licence,
)
from terrazzo.ledger.passwords import PasswordInvalid
from terrazzo.ledger.schema import failure, token, user
from terrazzo.ledger.tokens import CredentialsInvalid, TooManyFailures, holder_of, log_in
from terrazzo.ledger.users import (
    AccountClosed,
    UserExists,
    UserInvalid,
    UserUnknown,
    add_user,
    change_user,
    find_user,
    has_accounts,
    principal_of,
    remove_user,
    seen_user,
    users,
)

PASSWORD = "four words nobody guesses"  # noqa: S105 - of nobody
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with least cost: what is tested does not depend on it."""
    monkeypatch.setattr(hashing, "_HASHER", CHEAP)


@pytest.fixture
def alice(database: Database) -> str:
    return add_user(database, "alice", PASSWORD, name="Alice", groups=["forest", "agri"]).id


def entered(database: Database, password: str = PASSWORD, *, address: str = HERE) -> str:
    return log_in(database, "alice", password, address, 1.0)


def fail(database: Database, times: int, *, address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(CredentialsInvalid):
            entered(database, "wrong password", address=address)


def just_now(database: Database) -> None:
    """Let failures be no older than they would be on a machine that is not busy."""
    with database.writing() as connection:
        connection.execute(update(failure).values(last=after(1.0)))


def test_a_token_leads_to_who_logged_in(database: Database, alice: str):
    found = holder_of(database, entered(database))

    assert found is not None
    assert (found.id, found.name, found.groups) == (alice, "Alice", {"agri", "forest"})
    assert not found.admin


def test_neither_password_nor_token_is_kept(database: Database, alice: str):
    given = entered(database)

    with database.reading() as connection:
        kept = connection.execute(select(user)).mappings().one()
        digests = connection.execute(select(token.c.digest)).scalars().all()
    assert kept["password"].startswith("$argon2id$")
    assert PASSWORD not in str(dict(kept))
    assert digests == [hashlib.sha256(given.encode()).hexdigest()]
    assert kept["id"] == alice


def test_every_log_in_gives_another_token(database: Database, alice: str):
    assert alice

    given = {entered(database) for _ in range(3)}

    assert len(given) == 3
    assert all(holder_of(database, one) is not None for one in given)


def test_a_token_ends(database: Database, alice: str):
    given = log_in(database, "alice", PASSWORD, HERE, hours=-0.001)

    assert alice
    assert holder_of(database, given) is None


@pytest.mark.parametrize("given", ["", "x", "x" * 10_000, "\0", "ä", "a'; drop table token; --"])
def test_what_is_no_token_is_nobodys(database: Database, alice: str, given: str):
    assert alice
    assert holder_of(database, given) is None


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("alice", "four words nobody guesseS"), ("alice", ""), ("Alice", PASSWORD),
        ("nobody", PASSWORD), ("", ""), ("a\0b", PASSWORD), ("' or 1=1 --", "\ud800"),
    ],
)  # fmt: skip
def test_wrong_names_and_passwords_get_the_same_answer(
    database: Database, alice: str, login: str, password: str
):
    assert alice
    with pytest.raises(CredentialsInvalid) as refused:
        log_in(database, login, password, HERE, 1.0)

    with pytest.raises(CredentialsInvalid) as other:
        log_in(database, "alice", "another wrong one", ELSEWHERE, 1.0)
    assert str(refused.value) == str(other.value)


def test_a_name_that_is_not_there_costs_as_much_hashing(
    database: Database, alice: str, monkeypatch: pytest.MonkeyPatch
):
    assert alice
    checked: list[str] = []

    def count(_: str, hash_: str) -> bool:
        checked.append(hash_)
        return False

    monkeypatch.setattr(logins, "is_password", count)
    for login in ("alice", "nobody"):
        with pytest.raises(CredentialsInvalid):
            log_in(database, login, PASSWORD, HERE, 1.0)

    assert len(checked) == 2
    assert hashing.is_password("nobody has this password", "") is False


def test_the_same_password_may_be_typed_on_any_keyboard(database: Database):
    add_user(database, "zoe", "schöne Grüße aus Köln")

    assert log_in(database, "zoe", "scho\u0308ne Gru\u0308ße aus Ko\u0308ln", HERE, 1.0)


def test_old_hashes_are_renewed_at_log_in(
    database: Database, alice: str, monkeypatch: pytest.MonkeyPatch
):
    dearer = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    monkeypatch.setattr(hashing, "_HASHER", dearer)

    entered(database)

    with database.reading() as connection:
        kept = connection.execute(select(user.c.password).where(user.c.id == alice)).scalar_one()
    assert "m=16,t=2" in kept
    assert entered(database)


def test_who_guesses_has_to_wait(database: Database, alice: str):
    assert alice
    fail(database, logins.FREE_FAILURES)
    just_now(database)

    with pytest.raises(TooManyFailures, match=r"Wait \d+ seconds") as refused:
        entered(database)

    assert refused.value.status == 429


def test_the_wait_is_over_in_a_minute_however_often_somebody_failed(database: Database, alice: str):
    assert alice
    fail(database, 1)
    with database.writing() as connection:
        connection.execute(update(failure).values(count=1_000_000))
    with pytest.raises(TooManyFailures, match="Wait 60 seconds"):
        entered(database)
    with database.writing() as connection:
        connection.execute(update(failure).values(last=after(-logins.LONGEST_WAIT)))

    assert entered(database)


def test_who_guesses_holds_up_nobody_elsewhere(database: Database, alice: str):
    assert alice
    fail(database, logins.FREE_FAILURES)
    just_now(database)

    assert entered(database, address=ELSEWHERE)


def test_one_address_cannot_try_all_names(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logins, "FREE_FAILURES_OF_ADDRESS", 8)
    for number in range(8):
        with pytest.raises(CredentialsInvalid):
            log_in(database, f"name{number}", PASSWORD, HERE, 1.0)
    just_now(database)

    with pytest.raises(TooManyFailures):
        log_in(database, "one-more", PASSWORD, HERE, 1.0)


def test_all_addresses_of_one_household_count_as_one(database: Database, alice: str):
    assert alice
    for number in range(logins.FREE_FAILURES):
        fail(database, 1, address=f"2001:db8:1:2::{number:x}")
    just_now(database)

    with pytest.raises(TooManyFailures):
        entered(database, address="2001:db8:1:2:ffff::1")
    assert entered(database, address="2001:db8:1:3::1")


def test_a_log_in_forgets_failures(database: Database, alice: str):
    assert alice
    fail(database, logins.FREE_FAILURES - 1)
    entered(database)

    fail(database, logins.FREE_FAILURES - 1)

    assert entered(database)


def test_old_failures_are_forgotten(database: Database, alice: str):
    assert alice
    fail(database, 3)
    with database.writing() as connection:
        connection.execute(update(failure).values(last=after(-logins.FORGOTTEN - 1)))

    fail(database, 1, address=ELSEWHERE)

    with database.reading() as connection:
        assert connection.execute(select(failure.c.count)).scalars().all() == [1, 1]


@pytest.mark.parametrize("login", ["", "a b", "-a", "a/b", "a:b", "ä", "a\n", "x" * 65, "a\0"])
def test_a_log_in_name_has_plain_letters(database: Database, login: str):
    with pytest.raises(UserInvalid, match="no log-in name"):
        add_user(database, login, PASSWORD)


@pytest.mark.parametrize("password", ["", "x" * 9, "x" * 1001])
def test_a_password_is_long_but_not_endless(database: Database, password: str):
    with pytest.raises(PasswordInvalid, match=f"has {len(password)} letters"):
        add_user(database, "alice", password)

    assert not has_accounts(database)


def test_a_name_is_given_once(database: Database, alice: str):
    with pytest.raises(UserExists, match="alice"):
        add_user(database, "alice", PASSWORD)

    assert [one.id for one in users(database)] == [alice]


def test_who_is_disabled_is_out_at_once_and_can_be_let_in_again(database: Database, alice: str):
    given = entered(database)

    change_user(database, "alice", enabled=False)

    assert holder_of(database, given) is None
    with pytest.raises(CredentialsInvalid):
        entered(database)
    with pytest.raises(AccountClosed):
        principal_of(database, alice)
    change_user(database, "alice", enabled=True)
    assert holder_of(database, entered(database)) == principal_of(database, alice)
    assert holder_of(database, given) is None


def test_a_new_password_ends_all_log_ins(database: Database, alice: str):
    given = entered(database)

    change_user(database, "alice", password="another four words")  # noqa: S106 - of nobody

    assert alice
    assert holder_of(database, given) is None
    with pytest.raises(CredentialsInvalid):
        entered(database)
    assert entered(database, "another four words")


def test_rights_count_from_the_next_request_on(database: Database, alice: str):
    given = entered(database)

    change_user(database, "alice", groups=["sea"], admin=True, quota=5_000_000_000)

    found = holder_of(database, given)
    assert found is not None
    assert (found.groups, found.admin, found.quota) == ({"sea"}, True, 5_000_000_000)
    assert found.id == alice


def test_who_comes_after_somebody_removed_inherits_nothing(database: Database, alice: str):
    set_licence(database, "vhr")
    accept_licence(database, alice, "vhr")
    given = entered(database)

    remove_user(database, "alice")
    again = add_user(database, "alice", PASSWORD)

    assert holder_of(database, given) is None
    assert again.id != alice
    assert principal_of(database, again.id).licences == set()
    with pytest.raises(AccountClosed):
        principal_of(database, alice)


def test_who_is_not_there_cannot_be_found(database: Database):
    for login in ("alice", "egi/alice", ""):
        with pytest.raises(UserUnknown, match="user list"):
            find_user(database, login)


def test_somebody_of_a_provider_gets_an_account_at_first_sight(database: Database):
    first = seen_user(database, "egi", "s-1", "Bo", ["agri"])
    again = seen_user(database, "egi", "s-1", "Bo", ["agri"])

    assert first == again
    assert first is not None
    assert (first.name, first.groups) == ("Bo", {"agri"})
    assert find_user(database, "egi/s-1").id == first.id
    assert len(users(database)) == 1


def test_requests_at_the_same_moment_make_one_account(database: Database):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: seen_user(database, "egi", "s-1", "Bo", ["a"]), range(16)))

    assert len(found) == 1
    assert len(users(database)) == 1


def test_failures_at_the_same_moment_all_count(database: Database, alice: str):
    assert alice
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fail(database, 1), range(4)))

    with database.reading() as connection:
        counts = connection.execute(select(failure.c.count)).scalars().all()
    assert counts == [4, 4]


def test_the_same_subject_of_another_provider_is_somebody_else(database: Database):
    first = seen_user(database, "egi", "s-1", "Bo", [])
    other = seen_user(database, "edu", "s-1", "Bo", [])

    assert first is not None
    assert other is not None
    assert first.id != other.id


def test_groups_follow_the_provider_and_those_of_the_operator_stay(database: Database):
    seen_user(database, "egi", "s-1", "Bo", ["agri", "sea"])
    change_user(database, "egi/s-1", groups=["staff"])

    kept = seen_user(database, "egi", "s-1", "", None)
    left = seen_user(database, "egi", "s-1", "Bo", ["sea"])

    assert kept is not None
    assert kept.groups == {"agri", "sea", "staff"}
    assert left is not None
    assert left.groups == {"sea", "staff"}


def test_somebody_of_a_provider_can_be_disabled_and_has_no_password(database: Database):
    seen_user(database, "egi", "s-1", "Bo", [])

    change_user(database, "egi/s-1", enabled=False)

    assert seen_user(database, "egi", "s-1", "Bo", []) is None
    with pytest.raises(UserInvalid, match="provider 'egi'"):
        change_user(database, "egi/s-1", password=PASSWORD)
    with pytest.raises(CredentialsInvalid):
        log_in(database, "s-1", "", HERE, 1.0)


@pytest.mark.parametrize("group", ["", " ", "a\nb", "a\0", "x" * 256])
def test_a_group_is_a_text(database: Database, alice: str, group: str):
    with pytest.raises(UserInvalid, match="is no group"):
        change_user(database, "alice", groups=[group])

    assert find_user(database, alice).groups == ("agri", "forest")


def test_the_user_of_an_open_server_needs_no_account(database: Database):
    assert principal_of(database, LOCAL.id) is LOCAL
    assert not has_accounts(database)


def test_a_licence_is_accepted_once_and_withdrawn(database: Database, alice: str):
    set_licence(database, "vhr", title="Very high resolution", href="https://example.org/vhr")
    first = accept_licence(database, alice, "vhr")

    assert accept_licence(database, alice, "vhr") == first
    assert principal_of(database, alice).licences == {"vhr"}
    assert [(one.id, bool(one.accepted)) for one in licences(database, "somebody")] == [
        ("vhr", False)
    ]
    withdraw_licence(database, alice, "vhr")
    assert principal_of(database, alice).licences == set()
    with pytest.raises(LicenceUnknown):
        withdraw_licence(database, alice, "vhr")


def test_what_is_said_of_a_licence_can_be_changed(database: Database):
    set_licence(database, "vhr", title="Old", href="https://example.org/vhr")

    set_licence(database, "vhr", title="New")

    [kept] = licences(database, "somebody")
    assert (kept.title, kept.href) == ("New", "https://example.org/vhr")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\0b", "x" * 101])
def test_a_licence_needs_a_name(database: Database, alice: str, name: str):
    with pytest.raises(LicenceInvalid):
        set_licence(database, name)
    with pytest.raises(LicenceUnknown):
        accept_licence(database, alice, name)
    with pytest.raises(LicenceUnknown):
        withdraw_licence(database, alice, name)
