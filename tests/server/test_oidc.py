"""Access tokens of OpenID Connect providers: the good ones get in, and no others."""

from __future__ import annotations

import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey
from starlette.testclient import TestClient
from tests.server.fake_oidc import (
    AUDIENCE,
    CLIENT,
    FakeProvider,
    encoded,
    fake_provider,
    new_key,
    part,
    public,
)
from tests.server.people import closed, ledger

from terrazzo.drivers.job import Workspace
from terrazzo.ledger.users import change_user, users
from terrazzo.server.app import create_app
from terrazzo.server.login import fetch, oidc
from terrazzo.server.login.oidc import Identity, NotMember, Providers, ProviderUnusable
from terrazzo.server.settings import OidcProvider
from terrazzo.server.web.faults import AuthenticationSchemeInvalid, TokenInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADA = Identity("fake", "s-1", "Ada", ("agri",))
SKEW = oidc.LEEWAY - 10
A_DAY = 86_400
WRONG: dict[str, dict[str, Any]] = {
    "expired": {"exp": time.time() - oidc.LEEWAY - 60},
    "expired long ago": {"exp": 0},
    "without an end": {"exp": None},
    "with an end that is no number": {"exp": "2100-01-01"},
    "not yet good": {"nbf": time.time() + oidc.LEEWAY + A_DAY},  # the tests may run for long
    "from the future": {"iat": time.time() + oidc.LEEWAY + A_DAY},
    "of another issuer": {"iss": "https://aai.example.org"},
    "of an issuer that begins the same": {"iss": "http://127.0.0.1"},
    "without issuer": {"iss": None},
    "for another audience": {"aud": "urn:other"},
    "for several other audiences": {"aud": ["urn:other", "urn:eo2"]},
    "for no audience": {"aud": None},
    "for an audience that is no text": {"aud": {"urn:eo": True}},
    "of nobody": {"sub": None},
    "of an empty subject": {"sub": ""},
    "of a subject that is no text": {"sub": 7},
    "of a subject that is no name": {"sub": "a\0b"},
    "of an endless subject": {"sub": "x" * 256},
    "with the mark of an ID token": {"nonce": "n"},
    "with the hash of an ID token": {"at_hash": "h"},
    "that says that it is an ID token": {"typ": "ID"},
    "bound to a key": {"cnf": {"jkt": "x"}},
}


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with fake_provider() as fake:
        yield fake


def settings(fake: FakeProvider, **changes: Any) -> OidcProvider:
    told = {"id": "fake", "issuer": fake.issuer, "client": CLIENT, "audience": AUDIENCE}
    return OidcProvider(**{**told, **changes})


def identified(fake: FakeProvider, token: str, **changes: Any) -> Identity:
    return Providers([settings(fake, **changes)]).identify("fake", token)


def test_a_good_token_tells_who_comes(fake: FakeProvider):
    assert identified(fake, fake.token()) == ADA


@pytest.mark.parametrize("wrong", WRONG)
def test_no_token_gets_in_that_is(fake: FakeProvider, wrong: str):
    with pytest.raises(TokenInvalid):
        identified(fake, fake.token(**WRONG[wrong]))


def test_clocks_may_differ_a_little(fake: FakeProvider):
    assert identified(fake, fake.token()) == ADA  # the keys are known now, and it is quick
    moment = time.time()
    slow = fake.token(nbf=moment + SKEW, iat=moment + SKEW)

    assert identified(fake, slow) == ADA
    assert identified(fake, fake.token(exp=time.time() - SKEW)) == ADA


@pytest.mark.parametrize("algorithm", ["none", "NONE", "HS256", "HS384", "HS512", "ES256K", ""])
def test_only_signatures_with_a_public_key_count(fake: FakeProvider, algorithm: str):
    head = part({"alg": algorithm, "kid": "k1", "typ": "at+jwt"})
    for signature in ("", "AAAA"):
        with pytest.raises(TokenInvalid, match="is signed by"):
            identified(fake, f"{head}.{part(fake.claims())}.{signature}")


def test_the_public_key_is_no_shared_secret(fake: FakeProvider):
    text = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'at+jwt'})}.{part(fake.claims())}"
    for secret in (fake.key.as_pem(private=False), json.dumps(fake.keys[0]).encode()):
        forged = f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"
        with pytest.raises(TokenInvalid, match="'HS256'"):
            identified(fake, forged)


def test_a_shared_secret_that_is_published_signs_nothing(fake: FakeProvider):
    secret = OctKey.generate_key(256, {"kid": "k1"})
    fake.keys = [dict(secret.as_dict(private=True))]

    for algorithm in ("HS256", "RS256"):
        head = {"alg": "HS256"} if algorithm == "HS256" else {}
        key = secret if algorithm == "HS256" else None
        with pytest.raises(TokenInvalid):
            identified(fake, fake.token(key, head))


def test_every_changed_part_is_noticed(fake: FakeProvider):
    head, body, signature = fake.token().split(".")
    more = part(fake.claims(eduperson_entitlement=["staff"]))
    other = fake.token(sub="s-2").split(".")[2]
    broken = ("A" if signature[0] != "A" else "B") + signature[1:]

    for tampered in (
        f"{head}.{more}.{signature}", f"{head}.{body}.{other}", f"{head}.{body}.{broken}",
        f"{head}.{body}.", f"{part({'alg': 'RS384', 'kid': 'k1'})}.{body}.{signature}",
        f"{head}.{body}.{signature[:-8]}", f"{head}..{signature}",
    ):  # fmt: skip
        with pytest.raises(TokenInvalid):
            identified(fake, tampered)


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "ey.ey.ey", "..", "eyJ9.e30.", "\u00e9", "x" * 16_001, " ", "a b",
     "eyJhbGciOiJSUzI1NiJ9.e30.e30.e30.e30"],
)  # fmt: skip
def test_what_is_no_token_is_refused(fake: FakeProvider, token: str):
    with pytest.raises(TokenInvalid):
        identified(fake, token)


def test_a_key_that_is_not_the_providers_signs_nothing(fake: FakeProvider):
    stranger = new_key("k1")
    unknown = new_key("k9")

    for token in (fake.token(stranger), fake.token(unknown, {"kid": "k9"})):
        with pytest.raises(TokenInvalid, match="not signed by a key"):
            identified(fake, token)


def test_a_token_cannot_bring_its_own_key(fake: FakeProvider):
    stranger = new_key("k1")
    head = {"jwk": public(stranger), "jku": f"{fake.issuer}/other", "x5u": f"{fake.issuer}/x5u"}

    with pytest.raises(TokenInvalid):
        identified(fake, fake.token(stranger, head))

    assert set(fake.asked) == {"/.well-known/openid-configuration", "/jwks"}


def test_what_must_be_understood_and_is_not_is_refused(fake: FakeProvider):
    with pytest.raises(TokenInvalid):
        identified(fake, fake.token(header={"crit": ["b64"], "b64": False}))
    with pytest.raises(TokenInvalid):
        identified(fake, fake.token(header={"crit": ["unheard-of"], "unheard-of": 1}))
    assert identified(fake, fake.token(header={"unheard-of": 1})) == ADA


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", 7])
def test_other_kinds_of_tokens_are_refused(fake: FakeProvider, kind: Any):
    with pytest.raises(TokenInvalid, match="no access token"):
        identified(fake, fake.token(header={"typ": kind}))


def test_an_id_token_is_no_access_token(fake: FakeProvider):
    told = {"aud": CLIENT, "client_id": None, "scope": None}

    for kind in ("JWT", None):
        with pytest.raises(TokenInvalid, match="ID token"):
            identified(fake, fake.token(header={"typ": kind}, **told), audience="")


def test_a_token_may_be_known_by_its_client(fake: FakeProvider):
    by_client = {"aud": "account", "client_id": CLIENT}
    by_party = {"aud": "account", "client_id": None, "azp": CLIENT}
    of_other = {"aud": "account", "client_id": "other", "azp": "another"}

    assert identified(fake, fake.token(**by_client), audience="") == ADA
    assert identified(fake, fake.token(**by_party), audience="") == ADA
    with pytest.raises(TokenInvalid, match="another service"):
        identified(fake, fake.token(**of_other), audience="")
    with pytest.raises(TokenInvalid, match="another service"):
        identified(fake, fake.token(**by_client))


def test_keys_of_other_kinds_sign_too(fake: FakeProvider):
    curve = ECKey.generate_key("P-256", {"kid": "e1"})
    edwards = OKPKey.generate_key("Ed25519", {"kid": "o1"})
    fake.keys += [public(curve), public(edwards), {"kty": "unheard-of"}, {"kty": "RSA"}]

    assert identified(fake, fake.token(curve, {"alg": "ES256", "kid": "e1"})) == ADA
    assert identified(fake, fake.token(edwards, {"alg": "Ed25519", "kid": "o1"})) == ADA
    assert identified(fake, fake.token(header={"kid": None})) == ADA


def test_keys_for_something_else_and_short_ones_sign_nothing(fake: FakeProvider):
    fake.keys = [public(fake.key) | {"use": "enc"}]
    with pytest.raises(TokenInvalid):
        identified(fake, fake.token())

    fake.keys = [public(fake.key) | {"alg": "PS256"}]
    with pytest.raises(TokenInvalid):
        identified(fake, fake.token())

    fake.keys = [public(fake.key) | {"n": part("x" * 90)}]
    with pytest.raises(TokenInvalid):
        identified(fake, fake.token())


def test_keys_are_fetched_once_and_again_when_they_change(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    providers = Providers([settings(fake)])
    for _ in range(5):
        assert providers.identify("fake", fake.token()) == ADA
    assert fake.asked == {"/.well-known/openid-configuration": 1, "/jwks": 1}
    old, fake.key = fake.token(), new_key("k2")
    fake.keys = [public(fake.key)]
    rotated = fake.token(header={"kid": "k2"})

    with pytest.raises(TokenInvalid):  # too soon to ask again
        providers.identify("fake", rotated)
    monkeypatch.setattr(oidc, "RETRY", 0.0)
    assert providers.identify("fake", rotated) == ADA

    assert fake.asked["/jwks"] == 2
    with pytest.raises(TokenInvalid):
        providers.identify("fake", old)


def test_made_up_keys_do_not_make_the_server_ask_again_and_again(fake: FakeProvider):
    providers = Providers([settings(fake)])
    for number in range(20):
        with pytest.raises(TokenInvalid):
            providers.identify("fake", fake.token(header={"kid": f"made-up-{number}"}))

    assert fake.asked["/jwks"] <= 2


def test_a_token_of_one_provider_is_none_of_another(fake: FakeProvider):
    with fake_provider() as other:
        known = Providers([settings(fake), settings(other, id="other")])

        assert known.identify("other", other.token()).provider == "other"
        for provider, token in (("fake", other.token()), ("other", fake.token())):
            with pytest.raises(TokenInvalid):
                known.identify(provider, token)
        with pytest.raises(AuthenticationSchemeInvalid, match="'third'"):
            known.identify("third", fake.token())


def test_one_key_may_serve_two_issuers_but_a_token_only_one(fake: FakeProvider):
    with fake_provider() as other:
        other.key, other.keys = fake.key, fake.keys

        with pytest.raises(TokenInvalid, match="iss"):
            identified(other, fake.token())


def test_a_provider_that_does_not_answer_is_told(fake: FakeProvider):
    nowhere = settings(fake, issuer="http://127.0.0.1:9")

    with pytest.raises(ProviderUnusable, match="gave no answer"):
        Providers([nowhere]).identify("fake", fake.token())


@pytest.mark.parametrize(
    "published",
    [
        {"issuer": "https://aai.example.org"},
        {"jwks_uri": "http://169.254.169.254/latest"},
        {"jwks_uri": "https://127.0.0.1:1/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://127.0.0.1:9/jwks"},
        {"jwks_uri": ""},
        {"jwks_uri": 7},
    ],
)
def test_a_provider_cannot_send_the_server_elsewhere(fake: FakeProvider, published: dict[str, Any]):
    fake.published = published

    with pytest.raises(ProviderUnusable):
        identified(fake, fake.token())


def test_redirections_and_nonsense_are_not_followed(fake: FakeProvider):
    original = fake.answer
    for status, content in ((302, {}), (200, b"nonsense"), (200, []), (500, {}), (200, b"")):

        def answer(path: str, header: str, body: str, told: Any = (status, content)) -> Any:
            return told if path == "/jwks" else original(path, header, body)

        fake.answer = answer  # type: ignore[method-assign]
        with pytest.raises(ProviderUnusable):
            identified(fake, fake.token())


def test_answers_without_end_are_cut_off(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "LARGEST", 10)

    with pytest.raises(ProviderUnusable, match="too much"):
        identified(fake, fake.token())


def test_old_keys_are_good_while_the_provider_is_away(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    providers = Providers([settings(fake)])
    providers.identify("fake", fake.token())
    monkeypatch.setattr(oidc, "KEPT", -1.0)
    monkeypatch.setattr(oidc, "RETRY", 0.0)
    fake.answer = lambda *_: (500, {})  # type: ignore[method-assign]

    assert providers.identify("fake", fake.token()) == ADA


def test_groups_are_read_where_the_operator_says(fake: FakeProvider):
    nested = fake.token(realm_access={"roles": ["b", "a", "a", 7, "", " x", "x\0"]})
    one = fake.token(groups="solo")

    assert identified(fake, nested, groups_claim="realm_access.roles").groups == ("a", "b")
    assert identified(fake, one, groups_claim="groups").groups == ("solo",)
    assert identified(fake, one, groups_claim="").groups == ()


def test_what_a_token_lacks_is_asked_of_the_provider_once(fake: FakeProvider):
    bare = fake.token(name=None, eduperson_entitlement=None)
    told = {"sub": "s-1", "name": "Ada", "eduperson_entitlement": ["agri"]}
    fake.userinfo = lambda token: (200, told) if token == bare else (401, {})
    providers = Providers([settings(fake)])

    for _ in range(3):
        assert providers.identify("fake", bare) == ADA

    assert fake.asked["/userinfo"] == 1


def test_what_the_provider_says_of_somebody_else_does_not_count(fake: FakeProvider):
    fake.userinfo = lambda _: (200, {"sub": "s-2", "eduperson_entitlement": ["staff"]})

    found = identified(fake, fake.token(name=None, eduperson_entitlement=None))

    assert found == Identity("fake", "s-1", "", ())


def test_groups_that_cannot_be_asked_now_are_unknown_not_none(fake: FakeProvider):
    fake.userinfo = lambda _: (500, {})
    bare = fake.token(eduperson_entitlement=None)

    assert identified(fake, bare).groups is None
    with pytest.raises(ProviderUnusable):
        identified(fake, bare, members=("agri",))


def test_a_server_may_be_for_members_only(fake: FakeProvider):
    assert identified(fake, fake.token(), members=("sea", "agri")) == ADA
    with pytest.raises(NotMember):
        identified(fake, fake.token(), members=("sea",))
    with pytest.raises(NotMember):
        identified(fake, fake.token(eduperson_entitlement=[]), members=("sea",))


def test_tokens_that_cannot_be_read_are_refused_unless_the_operator_says_how(fake: FakeProvider):
    fake.userinfo = lambda _: (200, {"sub": "s-1"})

    with pytest.raises(TokenInvalid, match="no JWT"):
        identified(fake, "opaque-token")

    assert not fake.asked


def test_a_provider_may_be_asked_whose_token_it_is(fake: FakeProvider):
    told = {"sub": "s-1", "name": "Ada", "eduperson_entitlement": ["agri"]}
    fake.userinfo = lambda token: (200, told) if token == "opaque-token" else (401, {})  # noqa: S105
    providers = Providers([settings(fake, opaque="userinfo")])

    for _ in range(3):
        assert providers.identify("fake", "opaque-token") == ADA
        with pytest.raises(TokenInvalid):
            providers.identify("fake", "another-token")

    assert fake.asked["/userinfo"] == 2


def test_a_forged_jwt_is_never_asked_about(fake: FakeProvider):
    fake.userinfo = lambda _: (200, {"sub": "s-1"})

    with pytest.raises(TokenInvalid):
        identified(fake, fake.token(aud="urn:other"), opaque="userinfo")

    assert "/userinfo" not in fake.asked


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True), ({"active": False}, False), ({"active": "true"}, False), ({"exp": 1}, False),
        ({"aud": "urn:other"}, False), ({"iss": "https://aai.example.org"}, False),
        ({"sub": None}, False), ({"cnf": {}}, False),
    ],
)  # fmt: skip
def test_introspection_tells_for_whom_a_token_is(
    fake: FakeProvider, changes: dict[str, Any], *, good: bool
):
    fake.introspect = lambda _: (200, fake.claims(**{"active": True, **changes}))
    how = {
        "opaque": "introspection", "introspection_client": "server", "introspection_secret": "x"
    }  # fmt: skip

    if good:
        assert identified(fake, "opaque-token", **how) == ADA
        return
    with pytest.raises(TokenInvalid):
        identified(fake, "opaque-token", **how)


def test_an_account_is_made_at_first_sight_and_can_be_disabled(fake: FakeProvider, tmp_path: Path):
    app = create_app(Workspace.of(tmp_path), closed(providers=(settings(fake),)))
    header = {"Authorization": f"Bearer oidc/fake/{fake.token()}"}
    with TestClient(app) as client:
        first = client.get("/me", headers=header).json()
        again = client.get("/me", headers=header).json()
        database = ledger(tmp_path)
        change_user(database, "fake/s-1", enabled=False)
        out = client.get("/me", headers=header)
        expired = client.get(
            "/me", headers={"Authorization": f"Bearer oidc/fake/{fake.token(exp=1)}"}
        )

    assert first == again
    assert (first["name"], first["groups"]) == ("Ada", ["agri"])
    assert [one.login for one in users(database)] == ["fake/s-1"]
    assert (out.status_code, out.json()["code"]) == (403, "TokenInvalid")
    assert (expired.status_code, expired.json()["code"]) == (403, "TokenInvalid")
    database.close()
