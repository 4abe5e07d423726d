"""What a gateway polled from a meter, beside what it published of it.

Both are cut at two values that occur nowhere else: what lies between them has to be the same, in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fieldrig import near
from fieldrig.errors import ExpectationFailed, InconclusiveError

BEGIN, END = 300.1, 300.2
"""Voltages that mark the begin and the end of a flow."""


class Flow:
    """The values of one meter, from its bus to its topic.

    Args:
        bench: the open bench.
        values: a watch on the meter's topic.
        meter: the meter, a peer.
        topic: its topic.
    """

    def __init__(self, bench: Any, values: Any, meter: Any, topic: str) -> None:
        self._bus = bench.bus485
        self._values = values
        self._meter = meter
        self._topic = topic
        self._since = bench.rig.now()
        self._mark(BEGIN, "10s")

    def drive(self, volts: Sequence[float], within: str = "10s") -> None:
        """Gives the meter one value after the other, each after the one before was polled."""
        for value in volts:
            self._polled(self._meter.set("voltage", value), value, within)

    def end(self, within: str = "60s") -> None:
        """Waits until everything that was polled so far ought to be published."""
        self._mark(END, within)

    def _mark(self, value: float, within: str) -> None:
        change = self._meter.set("voltage", value)
        self._polled(change, value, "10s")
        self._values.expect(self._topic, json={"v": near(value, 0.01)}, after=change, within=within)

    def _polled(self, change: Any, value: float, within: str) -> None:
        """Waits until the meter has told the gateway this value; it may be asked for other things, too."""
        while True:
            answer = self._bus.expect(response_from=self._meter, after=change, within=within)
            if answer.values[:1] == (round(value * 10),):
                return

    def must_be_whole(self) -> None:
        """Every value that was polled was published, in the order of polling.

        Raises:
            ExpectationFailed: values are missing, out of order, or were never polled.
        """
        polled, published = self._both()
        missing = list((Counter(polled) - Counter(published)).elements())
        foreign = [value for value in published if value not in polled]
        if missing or foreign:
            what = [f"never published: {missing}"] * bool(missing) + [f"never polled: {foreign}"] * bool(foreign)
            raise self._failed("; ".join(what), polled, published)
        if _first_ones(published, polled) != polled:
            raise self._failed("not in the order of polling", polled, published)

    def must_be_once(self, breaks: int = 0) -> None:
        """Nothing was published more often than it was polled.

        Args:
            breaks: how often the connection broke: each time one message may have been on its way, which QoS 1 sends
                again (MQTT 5.0, 4.4).

        Raises:
            ExpectationFailed: it was.
        """
        polled, published = self._both()
        again = list((Counter(published) - Counter(polled)).elements())
        if len(again) > breaks:
            raise self._failed(f"published more often than polled: {again}", polled, published)

    def _both(self) -> tuple[list[float], list[float]]:
        for name, lost in (("the bus", self._bus.missed(self._since)), ("the watch", self._values.missed(self._since))):
            if lost is not None:
                raise InconclusiveError(f"{name} of this test has not seen everything: {lost}")
        answers = [exchange.response for exchange in self._bus.exchanges(since=self._since)]
        polled = [answer.values[0] / 10 for answer in answers if answer is not None and self._is_mine(answer)]
        shown = self._topic.rpartition("}")[2]
        messages = [message for message in self._values.messages() if message.topic.endswith(shown)]
        recent = [message for message in messages if message.at.order(self._since) != "before"]
        return _between(polled), _between([round(message.json()["v"], 1) for message in recent])

    def _is_mine(self, answer: Any) -> bool:
        return answer.unit == self._meter.unit and bool(answer.values)

    def _failed(self, what: str, polled: list[float], published: list[float]) -> ExpectationFailed:
        lines = [f"{self._meter.name}: {what}", f"  polled:    {_shown(polled)}", f"  published: {_shown(published)}"]
        return ExpectationFailed("\n".join(lines))


def _between(values: list[float]) -> list[float]:
    """From the first BEGIN to the first END behind it."""
    begin = values.index(BEGIN) if BEGIN in values else 0
    end = values.index(END, begin) if END in values[begin:] else len(values) - 1
    return values[begin : end + 1]


def _first_ones(values: list[float], wanted: list[float]) -> list[float]:
    """`values` without what is in it more often than in `wanted`: the later ones are left out."""
    left = Counter(wanted)
    kept = []
    for value in values:
        if left[value] > 0:
            left[value] -= 1
            kept.append(value)
    return kept


def _shown(values: list[float]) -> str:
    shown = " ".join(str(value) for value in values[:20])
    return f"{shown} .. ({len(values)} in all)" if len(values) > 20 else shown
