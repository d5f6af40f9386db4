"""Files whose text goes to a model: which are kept back. Edge: git's index, reading."""

from __future__ import annotations

import os

from runner.disk.upwards import git_root
from runner.state.committed import is_tracked
from runner.text.globs import covers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SECRETS = (
    ".env .env.* *.env .envrc .netrc .npmrc .pypirc .htpasswd .git-credentials credentials credentials.*"
    " .pgpass .my.cnf .s3cfg .dockercfg .vault-token .aws .azure .docker .kube .gnupg *.gpg *.ppk"
    " *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.tfstate* id_rsa* id_dsa* id_ecdsa* id_ed25519* .ssh"
)
"""Names of files, or of folders above them, in small letters."""
_LOCKS = "*.lock *.lockb *.lockfile *-lock.json *-lock.yaml npm-shrinkwrap.json go.sum .runs"


def kept_back(root: str, name: str, denied: Iterable[str]) -> str | None:
    """Why, by its name below `root` and by the folders that sandboxes keep from agents."""
    path, parts = os.path.join(root, name), name.lower().rstrip("/").split("/")
    for known, reason in ((_SECRETS, "may have secrets"), (_LOCKS, "is not made by hand")):
        if any(covers(known.split(), part) for part in parts):
            return reason
    is_denied = any(f"{path}/".startswith(f"{folder.rstrip('/')}/") for folder in denied)
    return "is kept from the agent by its sandbox" if is_denied else None


def kept_behind(root: str, name: str, place: str, denied: Iterable[str]) -> str | None:
    """Why the file at `place` is not to be had by the name of a link, which says nothing of it to whoever
    trusts the settings. Both are in the repository.
    """
    real = os.path.realpath(root)
    if place == os.path.normpath(os.path.join(real, name)):
        return None
    inner = os.path.relpath(place, real)
    reason = kept_back(real, inner, {*denied, *map(os.path.realpath, denied)})
    if reason is None and git_root(root) is not None and not is_tracked(root, place):
        reason = "is not in git"
    return reason and f"leads to {inner}, which {reason}"
