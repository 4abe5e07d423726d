"""A battery pack with a protocol of its own: asked, disturbed, timed.

Tests that only use its link run on a real pack, too (``--profile real``).
"""

import pytest

from fieldrig.errors import NoAnswer, Unanswered
from fieldrig.protocol import NO_ANSWER


def test_the_pack_says_how_it_is(pack):
    state = pack.serial.ask("status", address=1)
    assert state.message == "state"
    assert state["voltage"] == pytest.approx(51.2)
    assert state["mode"] in ("idle", "charge", "discharge")


def test_a_limit_that_is_set_is_kept(pack, measure):
    done = pack.serial.ask("set_limit", address=1, limit=42.5)
    assert done.message == "done"
    measure("set_limit", done.latency, max="200ms")
    assert pack.get("limit") == 42.5


def test_a_frame_with_a_wrong_checksum_is_not_answered(pack):
    pack.serial.ask("status", address=1)  # the pack is there: its silence counts
    with pytest.raises(NoAnswer):
        pack.serial.ask("status", address=1, patch={"checksum": "wrong"}, timeout="200ms")
    assert pack.serial.ask("status", address=1).message == "state"  # and it is not out of step


@pytest.mark.parametrize(
    "wrong", [b"\x7e\x01", b"\x00\xff" * 40, b"\x7e\x01\x00\x01\xff\xff"], ids=["cut", "noise", "long"]
)
def test_the_pack_finds_its_way_back_after_garbage(pack, wrong):
    pack.serial.raw(wrong)
    assert pack.serial.ask("status", address=1).message == "state"


def test_an_answer_that_is_late_is_no_answer_to_the_next_request(pack):
    pack.serial.ask("status", address=1)
    pack.habit("serial", "delay", "600ms")
    with pytest.raises(NoAnswer):
        pack.serial.ask("status", address=1)
    pack.habit("serial", "delay", "default")
    pack.set("voltage", 40.0)
    fresh = pack.serial.ask("status", address=1)
    assert fresh["voltage"] == 40.0
    late = pack.serial.expect("state", kind="late", after=fresh, within="1s")
    assert late["voltage"] == pytest.approx(51.2)


def test_a_wrong_checksum_of_the_pack_is_told_field_by_field(pack):
    pack.serial.ask("status", address=1)
    pack.habit("serial", "wrong_checksum", 1)
    with pytest.raises(NoAnswer, match="checksum at offset"):
        pack.serial.ask("status", address=1)
    wrong = next(frame for frame in reversed(pack.serial.frames()) if frame.kind == "wrong")
    assert wrong.wrong == ("checksum",)
    notes = {field.name: field.note for field in wrong.dissect().fields}
    assert "would be right" in notes["checksum"] and notes["voltage"] is None


def test_a_handler_answers_in_the_place_of_the_rules(pack):
    def refuse(request):
        return ("refusal", {"reason": "busy"}) if request.message == "set_limit" else None

    pack.handle("serial", refuse)
    assert pack.serial.ask("set_limit", address=1, limit=1.0)["reason"] == "busy"
    assert pack.serial.ask("status", address=1).message == "state"
    pack.handle("serial", lambda request: NO_ANSWER)
    with pytest.raises((NoAnswer, Unanswered)):
        pack.serial.ask("status", address=1, timeout="100ms")
