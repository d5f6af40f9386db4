"""Version constraints of `[runtimes.X] version`."""

from __future__ import annotations

import pytest

from runner.text.versions import parse_constraint, satisfies


@pytest.mark.parametrize(
    ("version", "constraint", "within"),
    [
        ("0.150.0", ">=0.150", True),
        ("0.149.9", ">=0.150", False),
        ("0.150", ">=0.150.0", True),
        ("1.0.0", ">=0.150,<1", False),
        ("0.163.0", ">=0.150, <1", True),
        ("0.9.0", "<0.10.0", True),
        ("1.2.3", "==1.2.3", True),
        ("1.2.3", "!=1.2.3", False),
        ("2", ">1.9.9", True),
        ("v1.2.3+build.5", "<=1.2.3", True),
        ("0.150.0-alpha.1", ">=0.150", False),
        ("0.151.0-alpha.1", ">=0.150", True),
        ("0.150.0-alpha.1", "<0.150", True),
    ],
)
def test_versions_are_compared_number_by_number_and_prereleases_come_first(version, constraint, within):
    assert satisfies(version, constraint) is within


@pytest.mark.parametrize("text", ["", "1.0", ">=", ">=1.x", "~=1", ">=1,", ">=-1", "=>1", ">=²"])
def test_anything_else_is_no_constraint(text):
    with pytest.raises(ValueError, match="expected a list such as"):
        parse_constraint(text)


def test_a_version_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="not a version"):
        satisfies("unknown", ">=1")
