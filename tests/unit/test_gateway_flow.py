"""The comparison of what a gateway polled with what it published, on made-up observations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fieldrig import Stamp
from fieldrig.errors import ExpectationFailed, InconclusiveError
from fieldrig.frames import Exchange
from fieldrig.suites.gateway.flow import BEGIN, END, Flow


class Seen:
    def __init__(self, value: float) -> None:
        self.at = Stamp(10)
        self.kind = "response"
        self.unit = 1
        self.values = (round(value * 10),)
        self.topic = "site/meter1/voltage"
        self._value = value

    def json(self) -> Any:
        return json.loads(json.dumps({"v": self._value}))


class Both:
    """Stands for the bus, the watch, the meter and the bench at once."""

    name = "meter1"
    unit = 1

    def __init__(self, polled: list[float], published: list[float], lost: str | None = None) -> None:
        self._polled, self._published, self._lost = polled, published, lost
        self.bus485 = self.rig = self

    def now(self) -> Stamp:
        return Stamp(1)

    def exchanges(self, since: Stamp) -> list[Exchange]:
        return [Exchange(Seen(0.0), Seen(value)) for value in [12.0, BEGIN, *self._polled, END, 13.0]]  # type: ignore[arg-type]

    def messages(self) -> list[Seen]:
        return [Seen(value) for value in [12.0, BEGIN, *self._published, END]]

    def set(self, point: str, value: float) -> float:
        return value

    def expect(self, *positional: object, after: float, **named: object) -> Seen:
        return Seen(after)

    def missed(self, since: Stamp) -> str | None:
        return self._lost


def flow(polled: list[float], published: list[float], lost: str | None = None) -> Flow:
    both = Both(polled, published, lost)
    return Flow(both, both, both, "{base}/meter1/voltage")


def test_the_same_values_in_the_same_order_are_whole() -> None:
    flow([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 2.0, 3.0]).must_be_whole()
    flow([1.0, 2.0], [1.0, 2.0]).must_be_once()


@pytest.mark.parametrize(
    ("published", "said"),
    [
        ([1.0, 3.0], "never published: [2.0]"),
        ([1.0, 2.0, 3.0, 4.0], "never polled: [4.0]"),
        ([2.0, 1.0, 3.0], "not in the order of polling"),
    ],
)
def test_what_is_lost_foreign_or_out_of_order_is_named(published: list[float], said: str) -> None:
    with pytest.raises(ExpectationFailed) as failed:
        flow([1.0, 2.0, 3.0], published).must_be_whole()
    assert said in str(failed.value)


def test_a_value_may_be_repeated_once_for_each_break() -> None:
    repeated = flow([1.0, 2.0], [1.0, 2.0, 2.0])
    repeated.must_be_whole()
    repeated.must_be_once(breaks=1)
    with pytest.raises(ExpectationFailed, match=r"more often than polled: \[2.0\]"):
        repeated.must_be_once()


def test_an_observer_that_lost_something_accuses_nobody() -> None:
    with pytest.raises(InconclusiveError, match="has not seen everything: 3 frames"):
        flow([1.0, 2.0], [1.0], "3 frames").must_be_whole()
