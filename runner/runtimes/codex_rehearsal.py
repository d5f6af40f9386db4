"""The settings with which the real Codex talks only to the rehearsal. Pure."""

from __future__ import annotations


def overrides(port: int, *, retries: int = 0) -> tuple[str, ...]:
    """A `key=value` for each `-c`. They belong last: of two with one key, Codex takes the last."""
    address = f"http://127.0.0.1:{port}"
    provider = (
        f'{{name="rehearsal",base_url="{address}/v1",wire_api="responses",'
        f"request_max_retries={retries},stream_max_retries={retries}}}"
    )
    return (
        'model_provider="rehearsal"',
        f"model_providers.rehearsal={provider}",
        # Not logged in, whatever auth.json says: nothing is asked of chatgpt.com, no key is sent.
        'cli_auth_credentials_store="ephemeral"',
        f'chatgpt_base_url="{address}/backend-api/"',
        "check_for_update_on_startup=false",
        "analytics.enabled=false",
        "feedback.enabled=false",
        'otel.exporter="none"',
        'otel.metrics_exporter="none"',
        'otel.trace_exporter="none"',
        "features.apps=false",
        "features.plugins=false",
        "features.remote_plugin=false",
        # A server that has gone is then an error and not a wait for the network without end.
        "features.unbounded_connection_retries=false",
    )
