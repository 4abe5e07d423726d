//! The harness itself: what a simulated connection or wire does is what other tests build on.

mod common;

use common::{Path, World, at, ms, us};
use fieldrig_proto::endpoint::{How, Why};
use fieldrig_proto::line::{LineCommand, LineEvent};
use fieldrig_proto::time::{Duration, Stamp, Time};

fn exact(after_start: Duration) -> Stamp {
    Stamp::exact(at(after_start))
}

#[test]
fn a_connection_opens_after_two_delays_and_carries_after_one() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    a.join(&b.node, "peer", &Path::stream().delay(ms(3)));
    assert_eq!(world.now(), at(ms(6)));
    a.send(b"hello");
    assert_eq!(b.expect(b"hello"), exact(ms(9)));
    b.send(b"you");
    b.send(b"too");
    assert_eq!(a.expect(b"youtoo"), exact(ms(12)));
}

#[test]
fn a_wire_carries_each_byte_in_its_own_time() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    a.join(&b.node, "peer", &Path::wire("9600 8E1"));
    a.send([1, 2, 3]);
    b.expect([1, 2, 3]);
    let nanos: Vec<u64> = b.stamps().iter().map(|stamp| stamp.latest().as_nanos()).collect();
    assert_eq!(nanos, [1_145_833, 2_291_666, 3_437_500]);
}

#[test]
fn timed_sends_wait_for_the_instant_and_for_silence() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    a.join(&b.node, "peer", &Path::wire("1000000 8N1"));
    a.send_timed([1], Some(at(ms(5))), None);
    assert_eq!(b.expect([1]), exact(ms(5) + us(10)));
    b.send([9]);
    a.send_timed([2], None, Some(ms(2)));
    assert_eq!(b.expect([2]), exact(ms(7) + us(10) + us(10) + us(10)));
    a.expect([9]);
}

#[test]
fn a_half_closed_connection_still_carries_the_other_way() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    a.connect(&b.node, "peer");
    a.send(b"last words");
    a.close(How::HalfOpen);
    b.expect(b"last words");
    b.expect_closed(&Why::Finished);
    b.send(b"answer");
    a.expect(b"answer");
    b.close(How::Fin);
    a.expect_closed(&Why::Finished);
}

#[test]
fn a_reset_ends_both_directions_and_so_do_bytes_to_a_closed_side() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    a.connect(&b.node, "peer");
    a.close(How::Rst);
    b.expect_closed(&Why::Reset);
    a.connect(&b.node, "peer");
    a.close(How::Fin);
    b.expect_closed(&Why::Finished);
    b.send(b"too late");
    b.expect_closed(&Why::Reset);
}

#[test]
fn a_reader_that_pauses_holds_the_sender_back() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    let link = a.join(&b.node, "peer", &Path::stream().window(100).high_water(50));
    world.pause_reading(link, &b.node, true);
    a.send([7; 300]);
    b.expect_silence(ms(1));
    b.send(b"not read while its output is above the mark");
    a.expect_silence(ms(1));
    world.pause_reading(link, &b.node, false);
    assert_eq!(b.receive(300), [7; 300]);
    a.expect(b"not read while its output is above the mark");
}

#[test]
fn line_events_cross_the_wire() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    let link = a.join(&b.node, "peer", &Path::wire("9600 8N1"));
    a.set_line(LineCommand::Break(ms(20)));
    b.expect_line(&LineEvent::Break);
    assert_eq!(world.now(), at(ms(20)));
    world.line_event(link, &b.node, LineEvent::Parity);
    b.expect_line(&LineEvent::Parity);
    world.break_off(link, &b.node, Why::HungUp);
    b.expect_closed(&Why::HungUp);
}

#[test]
fn segments_arrive_at_one_instant_in_order() {
    let world = World::new();
    let (a, b) = (world.peer("a"), world.peer("b"));
    a.join(&b.node, "peer", &Path::stream().segments(1));
    a.send(b"abc");
    assert_eq!(b.expect(b"abc"), Stamp::exact(Time::ZERO));
}
