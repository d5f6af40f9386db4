"""The settings that make Codex talk to a rehearsal only."""

from __future__ import annotations

import tomllib

import pytest

from runner.runtimes.codex_rehearsal import overrides
from runner.runtimes.loopback import environment


def settings(*texts: str) -> dict[str, object]:
    return tomllib.loads("\n".join(texts))


def test_every_override_is_one_key_with_a_toml_value() -> None:
    for text in overrides(4321):
        assert len(settings(text)) == 1


def test_the_only_addresses_are_the_loopback_ones_of_the_server() -> None:
    found = settings(*overrides(4321))
    assert found["model_provider"] == "rehearsal"
    assert found["model_providers"] == {
        "rehearsal": {
            "name": "rehearsal",
            "base_url": "http://127.0.0.1:4321/v1",
            "wire_api": "responses",
            "request_max_retries": 0,
            "stream_max_retries": 0,
        }
    }
    assert found["chatgpt_base_url"] == "http://127.0.0.1:4321/backend-api/"
    assert sum("://" in text for text in overrides(4321)) == 2


def test_the_retries_of_a_script_are_those_of_requests_and_of_streams() -> None:
    (provider,) = (t for t in overrides(1, retries=3) if t.startswith("model_providers."))
    assert "request_max_retries=3,stream_max_retries=3" in provider


@pytest.mark.parametrize(
    ("env", "hosts"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "localhost,10.0.0.0/8"}, "localhost,10.0.0.0/8,127.0.0.1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1"),
        ({"NO_PROXY": "localhost, 127.0.0.1"}, "localhost,127.0.0.1"),
    ],
)
def test_loopback_is_kept_from_any_proxy_besides_what_was_already(env: dict[str, str], hosts: str) -> None:
    assert environment(env) == {"NO_PROXY": hosts, "no_proxy": hosts}


@pytest.mark.parametrize("hosts", ["*", "localhost, *"])
def test_where_no_host_has_a_proxy_there_is_none(hosts: str) -> None:
    """Codex, for one, would ask it all the same."""
    env = {
        "NO_PROXY": hosts,
        "HTTP_PROXY": "http://a:1",
        "https_proxy": "http://b:1",
        "ALL_PROXY": "c",
        "X": "y",
    }
    assert environment(env) == {"HTTP_PROXY": "", "https_proxy": "", "ALL_PROXY": ""}
