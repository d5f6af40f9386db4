"""What lets a program ask the rehearsal on this machine where a proxy is set. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOPBACK = "127.0.0.1"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What to set besides `env`: with a proxy named there, programs ask it even for loopback."""
    listed = env.get("no_proxy") or env.get("NO_PROXY") or ""
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    if "*" in hosts:  # Codex and others do not know it: without a proxy they have none to ask
        return {name: "" for name in env if name.lower() in _PROXIES}
    if _LOOPBACK not in hosts:
        hosts.append(_LOOPBACK)
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(hosts))
