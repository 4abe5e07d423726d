"""MQTT 3.1.1 and 5: client, watches on topics, embedded broker.

::

    from fieldrig import mqtt

    with mqtt.Broker() as broker, mqtt.Client(broker.url) as client, client.watch("site/+/alarm", qos=1) as alarms:
        sent = client.publish("site/a/alarm", json={"code": "OVERTEMP"}, qos=1)
        alarm = alarms.expect(json={"code": "OVERTEMP"}, after=sent, within="2s")
        assert alarm.topic == "site/a/alarm"
"""

from __future__ import annotations

import difflib
import json as _json
import re
from types import TracebackType
from typing import Any, Literal, Self

from fieldrig import _core
from fieldrig._core import Rig, Span, Stamp
from fieldrig._core.mqtt import Broker, Message, Published
from fieldrig.errors import UsageError
from fieldrig.expect import Doubt, HasInstant, MessagePattern, Observation, Timeline, since
from fieldrig.inbox import MessageInbox

__all__ = ["Broker", "Client", "Message", "Published", "Watch"]

_VERSIONS = {"mqtt5": "5", "mqtt311": "3.1.1"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Client:
    """A client with one connection to a broker. It is connected when the constructor returns.

    Args:
        url: `mqtt://host:port`; the port is 1883 if left out.
        client_id: the client identifier; without one, a name that is unique on this machine.
        version: 5 or "3.1.1" (as a bench file says: "mqtt5" or "mqtt311").
        base: what `{base}` in topics and filters stands for.
        keep_alive: the keep-alive interval; pings are sent by the rig, whatever Python does.
        username, password: credentials.
        clean: start without a stored session.
        timeout: how long connecting, subscribing and an acknowledged publish may take.
        rig: the rig to share; without one, the client has its own.
        timeline: what the links of one device share; a stand-alone client has its own.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose broker it is: decides who is to blame when it refuses, is silent or goes away.

    Raises:
        PortError: nobody listens there, or the broker of the bench turned the connection down.
        Refused: the broker under test turned it down; `.facts["code"]` is its reason code, here and above.
        Unanswered, NoAnswer: no CONNACK in time (broker of the bench, broker under test).
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str | None = None,
        version: int | str = 5,
        base: str = "",
        keep_alive: str | Span = "30s",
        username: str | None = None,
        password: str | bytes | None = None,
        clean: bool = True,
        timeout: str | Span = "5s",
        rig: Rig | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> None:
        self._name = name or url
        self._base = base
        self._core = _core.mqtt.Client(
            url,
            client_id=client_id,
            version=_VERSIONS.get(str(version), str(version)),
            keep_alive=keep_alive,
            username=username,
            password=password.encode() if isinstance(password, str) else password,
            clean=clean,
            timeout=timeout,
            rig=rig,
            name=self._name,
            belongs_to=belongs_to,
        )
        self._timeline = timeline or Timeline(self._core.now, self._core.stalls)
        self._timeline.look_with(self._core.look)
        self._doubt = Doubt()

    @property
    def client_id(self) -> str:
        """The client identifier in use; the broker may have assigned it."""
        return self._core.client_id

    def publish(
        self,
        topic: str,
        payload: bytes | str | None = None,
        *,
        json: Any = None,
        qos: int = 0,
        retain: bool = False,
    ) -> Published:
        """Publishes text, bytes or a JSON value; with QoS 1 it returns after the acknowledgement.

        Returns:
            `.at`, when it was issued; `.done`, when it was acknowledged (QoS 0: handed to the port).

        Raises:
            PortError, Refused: the broker turned it down (that of the bench, that under test).
            Unanswered, NoAnswer: no acknowledgement in time.
            PortLost, ConnectionLost: the connection ended.
            UsageError: payload and json together, a QoS other than 0 and 1, a topic with wildcards.
        """
        if json is not None:
            if payload is not None:
                raise UsageError("publish() takes a payload or json=, not both")
            payload = _json.dumps(json, separators=(",", ":"))
        octets = payload.encode() if isinstance(payload, str) else payload or b""
        at = self._timeline.approach()
        published = self._core.publish(self._topic(topic), octets, qos=qos, retain=retain)
        if at is not None:
            published = Published(published.topic, since(at, published.at), published.done)
        self._timeline.stimulus(published.at)
        return published

    def watch(self, filter: str, *, qos: int = 0) -> Watch:
        """Subscribes and returns after the SUBACK; close the watch, or use it in a `with`, to unsubscribe.

        Raises:
            PortError, Refused: the broker does not grant the subscription.
            Unanswered, NoAnswer: no SUBACK in time.
            PortLost, ConnectionLost: the connection ended.
        """
        full = self._topic(filter)
        name = f"{self._name} {full}"
        return Watch(self._core.watch(full, qos=qos), self._timeline, name, self._base, self._doubt)

    def doubt(self, reason: str | None) -> None:
        """Says why a message that does not come is held against nobody for now; None: against its sender again."""
        self._doubt.set(reason)

    def doubt_until_heard(self, reason: str) -> None:
        """The same until a message came: whoever sends it may not be back yet."""
        self._doubt.until_heard(reason)

    def close(self) -> None:
        """Disconnects; closing twice is fine."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _topic(self, text: str) -> str:
        return _with_base(text, self._base, self._name)


class Watch:
    """The messages of one subscription, from its SUBACK on. Made by `Client.watch`."""

    def __init__(
        self,
        core: _core.mqtt.Watch,
        timeline: Timeline,
        name: str,
        base: str = "",
        doubt: Doubt | None = None,
    ) -> None:
        self._core = core
        self._base = base
        self._name = name
        self._timeline = timeline
        self._inbox: MessageInbox[Message] = MessageInbox(core, timeline, name, doubt)
        timeline.observe(self._arrivals)

    @property
    def filter(self) -> str:
        """The topic filter."""
        return self._core.filter

    @property
    def granted(self) -> int:
        """The QoS that the broker granted."""
        return self._core.granted

    def expect(
        self,
        topic: str | None = None,
        *,
        json: Any = None,
        payload: bytes | str | re.Pattern[str] | re.Pattern[bytes] | None = None,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
        retained: bool = False,
    ) -> Message:
        """The first message that fits, came surely behind the cursor and surely inside the window.

        Args:
            topic: a topic or topic filter; every topic of the watch if not given.
            json: what the payload must hold: objects may have further keys, all else must be equal.
            payload: the whole payload, or a pattern that is found in it.
            after: an action, an observation or a stamp at which the cursor stands and the window begins; without it the
                cursor is the last stimulus on any link. A message that was matched before is not matched again.
            within: how long it may take, e.g. `"2s"`.
            retained: take retained messages, too.

        Raises:
            ExpectationFailed: it did not come.
            InconclusiveError: it came, but when cannot be said well enough, or the host stood still.
            PortLost, ConnectionLost: the connection ended.
            UsageError: a malformed duration.
        """
        return self._inbox.expect(self._pattern(topic, json, payload), after, within, retained)

    def expect_none(
        self,
        topic: str | None = None,
        *,
        json: Any = None,
        payload: bytes | str | re.Pattern[str] | re.Pattern[bytes] | None = None,
        after: HasInstant | Stamp | None = None,
        for_: str | Span | None = None,
    ) -> None:
        """Nothing that fits comes for this long; a marker proves with a round trip that it would have been seen.

        Raises:
            UnexpectedEvent: it came.
            ObserverBlind: the marker did not come back, so that silence proves nothing.
            InconclusiveError: it may have come outside the window.
        """
        self._inbox.expect_none(self._pattern(topic, json, payload), after, for_)

    def messages(self) -> tuple[Message, ...]:
        """All messages so far, in order of arrival, without waiting."""
        return self._core.messages()

    def missed(self, since: HasInstant | Stamp) -> str | None:
        """What is known to have been lost of what came from an instant on, or None: then `messages` has all of it."""
        return self._core.missed(since)

    def close(self) -> None:
        """Ends the subscription if no other watch has the same filter; closing twice is fine."""
        self._timeline.forget(self._arrivals)
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pattern(
        self, topic: str | None, json: Any, payload: bytes | str | re.Pattern[str] | re.Pattern[bytes] | None
    ) -> MessagePattern:
        full = _with_base(topic, self._base, self._name) if topic is not None else None
        return MessagePattern(full, json, payload)

    def _arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        return [(self._name, message) for message in self._core.messages() if message.at.order(since) != "before"]


def _with_base(text: str, base: str, name: str) -> str:
    """Puts the base of the link into a topic. A topic that nobody meant would be waited for in vain: it is refused.

    Raises:
        UsageError: the link has no base, or the placeholder is a misspelt `{base}`.
    """
    for word in _PLACEHOLDER.findall(text):
        if word == "base" and not base:
            hint = 'write base = "..." into the [link.*] of the bench file'
            raise UsageError(f"{name}: the topic {text!r} names a base, but the link has none", hint=hint)
        if word != "base" and difflib.get_close_matches(word.lower(), ["base"]):
            raise UsageError(
                f"{name}: `{{{word}}}` in the topic {text!r} stands for nothing", hint="did you mean `{base}`?"
            )
    return text.replace("{base}", base)
