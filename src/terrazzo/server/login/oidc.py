"""Checks the access tokens of OpenID Connect providers.

A token that is a JWT is checked here: signature by the provider's published keys, issuer, audience,
times. Others are checked by asking the provider, if the operator allows it. What a provider
publishes is fetched when it is needed and kept for an hour; unknown keys are looked up again.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry, extract_compact

from terrazzo.errors import TerrazzoError
from terrazzo.server.login.fetch import FetchFailedError, fetch_json, is_allowed
from terrazzo.server.web.faults import AuthenticationSchemeInvalid, TokenInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.server.settings import OidcProvider

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
)  # fmt: skip
"""Signatures with a public key; the others prove nothing, or that somebody has a shared secret."""
LEEWAY = 30
"""Seconds by which clocks may differ."""
KEPT = 3600.0
"""Seconds that what a provider publishes is kept."""
RETRY = 10.0
"""Seconds between attempts to get something from a provider."""
ASKED = 60.0
"""Seconds that a provider's answer about a token is believed."""
_ASKED_MOST = 10_000
_LONGEST = 16_000
_MOST_GROUPS = 1000
_LONGEST_TEXT = 255
_SMALLEST_RSA = 2048
_ACCESS_TYPES = ("", "jwt", "at+jwt", "application/at+jwt")
_ACCESS_CLAIMS = {"scope", "scp", "client_id"}
_ID_TOKEN_CLAIMS = {"at_hash", "c_hash", "s_hash", "nonce"}
_REFUSED = (401, 403)
_Key = RSAKey | ECKey | OKPKey


class ProviderUnusable(TerrazzoError):
    """An OpenID Connect provider cannot be asked at the moment."""

    code, status = "ProviderUnusable", 503


class NotMember(TerrazzoError):
    """Somebody is in none of the groups that may use this server."""

    code, status = "PermissionsInsufficient", 403


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token it is."""

    provider: str
    """Id of the provider."""
    subject: str
    """What it calls them, for ever."""
    name: str = ""
    """What people call them."""
    groups: tuple[str, ...] | None = None
    """Where it says that they are; None if it cannot be asked at the moment."""


class Providers:
    """The providers of a server and what is known of them, for all threads."""

    def __init__(self, providers: Sequence[OidcProvider]) -> None:
        self._known = {provider.id: Provider(provider) for provider in providers}

    def identify(self, provider: str, token: str) -> Identity:
        """Return whose access token it is.

        Raises:
            AuthenticationSchemeInvalid: there is no such provider.
            TokenInvalid: the token is wrong, has expired, or is for somebody else.
            NotMember: who has it may not use this server.
            ProviderUnusable: the provider cannot be asked.
        """
        found = self._known.get(provider)
        if found is None:
            raise AuthenticationSchemeInvalid(
                f"This server knows no OpenID Connect provider {provider[:40]!r}. "
                "GET /credentials/oidc lists all."
            )
        return found.identify(token)


class Published:
    """A document that a provider publishes, fetched when needed and kept for a while."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._document: dict[str, Any] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = threading.Lock()

    def get(self, url: str, *, newer_than: float = float("-inf")) -> tuple[dict[str, Any], float]:
        """Return the document and when it was fetched.

        Args:
            url: where it is.
            newer_than: fetch it again if it was fetched no later than this.

        Raises:
            ProviderUnusable: there is none, and it cannot be fetched.
        """
        with self._lock:
            moment = time.monotonic()
            old = moment - self._fetched > KEPT or self._fetched <= newer_than
            if old and moment - self._tried > RETRY:
                self._tried = moment
                try:
                    self._document, self._fetched = _fetched(url, self._issuer), moment
                except FetchFailedError as error:
                    if not self._document:
                        raise ProviderUnusable(_unusable(str(error))) from error
            if not self._document:
                raise ProviderUnusable(_unusable(f"{url} gave no answer a moment ago"))
            return self._document, self._fetched


class Provider:
    """One provider, its published addresses and keys, and its answers about tokens."""

    def __init__(self, settings: OidcProvider) -> None:
        self._settings = settings
        self._addresses = Published(settings.issuer)
        self._keys = Published(settings.issuer)
        self._answers: OrderedDict[str, tuple[float, dict[str, Any] | None]] = OrderedDict()
        self._lock = threading.Lock()

    def identify(self, token: str) -> Identity:
        """Return whose access token it is; see `Providers.identify`."""
        if len(token) > _LONGEST or not token.isascii():
            raise TokenInvalid("The token is no access token of an OpenID Connect provider.")
        header = _header(token)
        claims = self._told(token) if header is None else self._checked(token, header)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _is_text(subject):
            raise TokenInvalid("The token does not say whose it is (claim `sub`).")
        try:
            claims = self._completed(token, claims)
        except ProviderUnusable:
            if self._settings.members:
                raise
            return Identity(self._settings.id, subject, _name(claims))
        groups = _groups(claims, self._settings.groups_claim)
        if self._settings.members and not set(groups) & set(self._settings.members):
            raise NotMember(
                "Your account is in none of the groups that may use this server. Ask its operator."
            )
        return Identity(self._settings.id, subject, _name(claims), groups)

    def _address(self, name: str) -> str:
        """Return a published address; empty if there is none.

        Raises:
            ProviderUnusable: the provider publishes nothing that can be used.
        """
        issuer = self._settings.issuer
        told, _ = self._addresses.get(f"{issuer}/.well-known/openid-configuration")
        if str(told.get("issuer", "")).rstrip("/") != issuer:
            raise ProviderUnusable(_unusable(f"{issuer} says that it is {told.get('issuer')!r}"))
        return str(told.get(name) or "")

    def _checked(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the claims of a JWT that is good."""
        algorithm, kind = header.get("alg"), header.get("typ", "")
        if algorithm not in ALGORITHMS:
            raise TokenInvalid(
                f"The token is signed by {str(algorithm)[:20]!r}. Accepted are "
                f"{', '.join(ALGORITHMS)}."
            )
        if str(kind).lower() not in _ACCESS_TYPES:
            raise TokenInvalid("The token is no access token. Send that, not the ID token.")
        claims = self._verified(token, str(algorithm), header.get("kid"))
        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": self._address("issuer")},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            rules.validate(claims)
        except ExpiredTokenError as error:
            raise TokenInvalid("The token has expired. Log in again.") from error
        except JoseError as error:
            raise TokenInvalid(f"The token is not good here: {error.description}.") from error
        if str(kind).lower() not in _ACCESS_TYPES[2:] and not _ACCESS_CLAIMS & claims.keys():
            raise TokenInvalid("The token is an ID token. Send the access token instead.")
        self._check_use(claims)
        return claims

    def _check_use(self, claims: Mapping[str, Any]) -> None:
        """Refuse what is not an access token for this server."""
        if _ID_TOKEN_CLAIMS & claims.keys() or str(claims.get("typ", "")).lower() == "id":
            raise TokenInvalid("The token is an ID token. Send the access token instead.")
        if "cnf" in claims:
            raise TokenInvalid("The token is bound to a key of its client, which is not supported.")
        audience = claims.get("aud", ())
        audiences = {audience} if isinstance(audience, str) else set(map(str, audience or ()))
        wanted = self._settings.audience
        if not wanted:
            wanted = self._settings.client
            audiences |= {str(claims.get(name)) for name in ("azp", "client_id")}
        if wanted not in audiences:
            raise TokenInvalid(
                "The token is for another service (claim `aud`). Log in for this server, with the "
                "client that GET /credentials/oidc names."
            )

    def _verified(self, token: str, algorithm: str, kid: object) -> dict[str, Any]:
        """Return the claims of a JWT whose signature is the provider's."""
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        registry.max_header_length = _LONGEST
        url = self._address("jwks_uri")
        published, fetched = self._keys.get(url)
        keys = _keys(published, algorithm, kid)
        if not keys:
            published, _ = self._keys.get(url, newer_than=fetched)
            keys = _keys(published, algorithm, kid)
        for key in keys:
            try:
                return dict(jwt.decode(token, key, registry=registry).claims)
            except (JoseError, ValueError, RecursionError):
                continue
        raise TokenInvalid("The token is not signed by a key of its provider. Log in again.")

    def _told(self, token: str) -> dict[str, Any]:
        """Return what the provider says of a token that is no JWT."""
        if self._settings.opaque == "introspection":
            return self._asked(token, "introspection_endpoint")
        if self._settings.opaque == "userinfo":
            return self._asked(token, "userinfo_endpoint")
        raise TokenInvalid(
            f"The token is no JWT, and this server takes only those of the provider "
            f"{self._settings.id!r}."
        )

    def _completed(self, token: str, claims: dict[str, Any]) -> dict[str, Any]:
        """Add name and groups where a token lacks them and the provider tells them."""
        wanted = self._settings.groups_claim
        if (not wanted or _claim(claims, wanted) is not None) and _name(claims):
            return claims
        try:
            told = self._asked(token, "userinfo_endpoint")
        except TokenInvalid:
            return claims
        return told | claims if told.get("sub") == claims["sub"] else claims

    def _asked(self, token: str, name: str) -> dict[str, Any]:
        """Return the provider's answer about a token, which may be a minute old."""
        key = hashlib.sha256(f"{name}\n{token}".encode()).hexdigest()
        with self._lock:
            until, known = self._answers.get(key, (float("-inf"), None))
        if time.monotonic() >= until:
            try:
                known, lasts = self._ask(token, name), ASKED
            except FetchFailedError as error:
                known, lasts = ({}, ASKED) if error.status in _REFUSED else (None, RETRY)
            with self._lock:
                self._answers[key] = (time.monotonic() + lasts, known)
                while len(self._answers) > _ASKED_MOST:
                    self._answers.popitem(last=False)
        if known is None:
            raise ProviderUnusable(_unusable(f"its {name} gives no answer"))
        ends = known.get("exp")
        if not known or (isinstance(ends, int | float) and ends < time.time() - LEEWAY):
            raise TokenInvalid("The provider does not take this token. Log in again.")
        return known

    def _ask(self, token: str, name: str) -> dict[str, Any]:
        url = self._address(name)
        if not url:
            raise FetchFailedError(f"{self._settings.issuer} has no {name}", _REFUSED[0])
        if name == "userinfo_endpoint":
            headers = {"Authorization": f"Bearer {token}"}
            return _fetched(url, self._settings.issuer, headers)
        secret = f"{quote_plus(self._settings.introspection_client)}:" + quote_plus(
            self._settings.introspection_secret
        )
        headers = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        form = {"token": token, "token_type_hint": "access_token"}
        answer = _fetched(url, self._settings.issuer, headers, form)
        if answer.get("active") is not True:
            return {}
        if answer.get("iss", self._address("issuer")) != self._address("issuer"):
            return {}
        self._check_use(answer)
        return answer


def _fetched(
    url: str,
    issuer: str,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    if not is_allowed(url, issuer):
        raise FetchFailedError(f"{url!r} is an address that a provider must not have asked")
    return fetch_json(url, headers=headers, form=form)


def _header(token: str) -> dict[str, Any] | None:
    """Return the header of a JWT; None for a token that is none."""
    registry = JWSRegistry()
    registry.max_header_length = _LONGEST
    try:
        return dict(extract_compact(token.encode(), registry=registry).headers())
    except (JoseError, ValueError, TypeError, RecursionError):
        if token.count(".") in {2, 4} and token.startswith("ey"):
            raise TokenInvalid("The token is a damaged or encrypted JWT.") from None
        return None


def _keys(published: Mapping[str, Any], algorithm: str, kid: object) -> list[_Key]:
    """Return the published keys that may have signed a token."""
    kind = {"R": "RSA", "P": "RSA"}.get(algorithm[0], "OKP" if algorithm[:2] == "Ed" else "EC")
    found: list[_Key] = []
    listed = published.get("keys")
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict) or entry.get("kty") != kind:
            continue
        if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
            continue
        if kid is not None and entry.get("kid") != kid:
            continue
        try:
            if kind == "RSA" and _bits(entry) < _SMALLEST_RSA:
                continue
            key = import_key(entry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            found.append(key)
    return found


def _bits(entry: Mapping[str, Any]) -> int:
    modulus = str(entry["n"])
    return 8 * len(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4)))


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """Return a claim by its name, or by its path of names with dots between."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _groups(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    listed = _claim(claims, name) if name else None
    listed = [listed] if isinstance(listed, str) else listed
    told = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    return tuple(sorted({one for one in told if _is_text(one)})[:_MOST_GROUPS])


def _name(claims: Mapping[str, Any]) -> str:
    for claim in ("name", "preferred_username"):
        told = claims.get(claim)
        if isinstance(told, str) and _is_text(told.strip()):
            return told.strip()
    return ""


def _is_text(told: str) -> bool:
    """Tell whether something can be a name, a group or a subject here."""
    return 0 < len(told) <= _LONGEST_TEXT and told == told.strip() and told.isprintable()


def _unusable(reason: str) -> str:
    return (
        f"The OpenID Connect provider cannot be asked at the moment: {reason}. Try again in a "
        "minute."
    )
