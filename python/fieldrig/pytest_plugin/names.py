"""How files name tests: a node id, with or without its parameters, a file or a folder."""

from __future__ import annotations


def matches(pattern: str, nodeid: str) -> bool:
    """Whether a name from a file means this test.

    ``a/test_b.py::test_c`` means the test with all its parameters, ``a/test_b.py::test_c[meter1]`` one of them,
    ``a/test_b.py`` everything in the file, and ``a/`` everything in the folder.
    """
    if pattern == nodeid or nodeid.startswith(f"{pattern}["):
        return True
    return nodeid.startswith(pattern if pattern.endswith("/") else f"{pattern}::")


def is_test(pattern: str) -> bool:
    """Whether a name is one of a test, and not the id of a requirement."""
    return "::" in pattern or pattern.endswith((".py", "/"))
