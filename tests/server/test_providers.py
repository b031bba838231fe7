"""The file in which an operator lists OpenID Connect providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from terrazzo.server.login.providers import ProvidersInvalid, read_providers

if TYPE_CHECKING:
    from pathlib import Path


def test_providers_are_read_from_a_file(tmp_path: Path):
    (tmp_path / "secret").write_text("s3cret\n")
    path = tmp_path / "providers.toml"
    path.write_text(
        '[[provider]]\nid = "egi"\nissuer = "https://aai.example.org/oidc"\nclient = "openeo"\n'
        'redirect_urls = ["https://editor.example.org/"]\nopaque = "introspection"\n'
        'introspection_client = "server"\nintrospection_secret_file = "secret"\n'
        '[[provider]]\nid = "local"\nissuer = "http://localhost:8080/realms/x"\naudience = "eo"\n'
    )

    egi, local = read_providers(path)

    assert (egi.client, egi.redirect_urls) == ("openeo", ("https://editor.example.org/",))
    assert egi.introspection_secret == "s3cret"  # noqa: S105 - of nobody
    assert "s3cret" not in repr(egi)
    assert (local.id, local.audience) == ("local", "eo")


GOOD = 'id = "a"\nissuer = "https://a.example.org"\nclient = "c"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no providers"),
        ("provider = 1", "lists no providers"),
        ("nonsense", "TOML"),
        (f"[[providers]]\n{GOOD}", "lists no providers"),
        (f"[[provider]]\n{GOOD}colour = 'red'", "'colour' is unknown"),
        (f"[[provider]]\n{GOOD}introspection_secret = 'x'", "unknown"),
        ("[[provider]]\nid = 'a'", "issuer is missing"),
        (f"[[provider]]\n{GOOD}[[provider]]\n{GOOD}", "two providers"),
        ("[[provider]]\nid = 'a'\nissuer = 'https://a.example.org'", "without client or audience"),
        ("[[provider]]\nid = 'a b'\nissuer = 'https://a.example.org'\nclient = 'c'", "an id has"),
        ("[[provider]]\nid = 'basic'\nissuer = 'https://a.example.org'\nclient = 'c'", "an id has"),
        ("[[provider]]\nid = 'a'\nissuer = 'http://a.example.org'\nclient = 'c'", "https://"),
        ("[[provider]]\nid = 'a'\nissuer = 'https://a.example.org/'\nclient = 'c'", "slash"),
        ("[[provider]]\nid = 'a'\nissuer = 'file:///etc'\nclient = 'c'", "https://"),
        (f"[[provider]]\n{GOOD}scopes = ['email']", "openid"),
        (f"[[provider]]\n{GOOD}scopes = 'openid'", "list of texts"),
        (f"[[provider]]\n{GOOD}title = 1", "title is a text"),
        (f"[[provider]]\n{GOOD}opaque = 'trust'", "opaque"),
        (f"[[provider]]\n{GOOD}opaque = 'introspection'", "introspection needs"),
        (f"[[provider]]\n{GOOD}introspection_secret_file = 'nowhere'", "cannot be read"),
        ("provider = [1]", "a provider is a table"),
    ],
)
def test_a_file_that_lists_them_wrongly_is_refused(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "providers.toml"
    path.write_text(text)

    with pytest.raises(ProvidersInvalid, match=reason):
        read_providers(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ProvidersInvalid, match=r"nowhere\.toml"):
        read_providers(tmp_path / "nowhere.toml")
