"""The tree of exceptions: blame is a type and the first word, and every exception survives pickling."""

from __future__ import annotations

import pickle

import pytest

from fieldrig import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]
BLAMES = {"DUT": errors.DutError, "BENCH": errors.BenchError, "USAGE": errors.UsageError}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_exception_survives_pickling(cls: type[errors.FieldrigError]) -> None:
    error = cls("it broke", hint="mend it", code=2, received=b"\x01")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (copy.message, copy.hint, copy.facts) == ("it broke", "mend it", {"code": 2, "received": b"\x01"})
    assert str(copy) == str(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_first_word_names_the_blame(cls: type[errors.FieldrigError]) -> None:
    word = str(cls("it broke")).partition(":")[0]
    if issubclass(cls, errors.InconclusiveError):
        assert word == "INCONCLUSIVE"
    elif cls is not errors.FieldrigError:
        assert issubclass(cls, BLAMES[word])


def test_the_tree_at_the_top_names_every_class() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert name in errors.__doc__


def test_a_hint_is_kept_apart_from_the_message() -> None:
    error = errors.PortError("tcp://127.0.0.1:1: connection refused", hint="is the server running?")
    assert str(error) == "BENCH: tcp://127.0.0.1:1: connection refused\n  hint: is the server running?"
    assert isinstance(errors.NoAnswer("silence"), TimeoutError)
    assert errors.ExceptionAnswer("no", code=2, function=3).code == 2
