"""SHA-256 without `hashlib`, which loads OpenSSL: a quarter of what a start may cost. Pure.

`random` takes the built-in one likewise. Where an interpreter was built without it, `hashlib` has one.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256
else:
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

__all__ = ["sha256"]
