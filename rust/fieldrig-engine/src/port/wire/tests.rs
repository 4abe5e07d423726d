//! What is passed on to a real wire.

use super::*;
use crate::clock::{Clock, ClockKind};
use crate::port::{Arrival, Look, Port, Read};
use fieldrig_proto::time::Limit;
use fieldrig_proto::verdict::Verdict;

/// Three taps on a wire without speed, the first of which passes on to a real wire; and the clock.
fn joined() -> (Clock, [TapPort; 3]) {
    let wire = Arc::new(Wire::new("bus", WireOptions::default(), RunLog::start(None).expect("no file is needed")));
    let mut taps = ["bridge", "device", "monitor"].map(|name| wire.tap(name, TapOptions::default()));
    taps[0].pass_on();
    (Clock::new(ClockKind::Virtual), taps)
}

fn at(micros: u64) -> Time {
    Time::from_nanos(micros * 1000)
}

fn read(tap: &mut TapPort, clock: &Clock, micros: u64) -> (Vec<u8>, Vec<Stamp>) {
    clock.advance(at(micros));
    let (mut buffer, mut stamps) = ([0; 64], Vec::new());
    let look = Look { clock, since: Time::ZERO, wait: false, buffer: &mut buffer, stamps: &mut stamps };
    match tap.read(look) {
        Read::Bytes(count, Arrival::PerByte) => (buffer[..count].to_vec(), stamps),
        _ => (Vec::new(), stamps),
    }
}

#[test]
fn what_was_forwarded_came_between_then_and_now() {
    let (clock, [mut bridge, mut device, mut monitor]) = joined();
    bridge.forward(at(5000), b"ab", Some(at(1000))).expect("room");
    for tap in [&mut device, &mut monitor] {
        assert!(tap.next_arrival().is_some_and(|due| due > at(5000)));
        let (bytes, stamps) = read(tap, &clock, 5001);
        assert_eq!(bytes, b"ab");
        let wide = Stamp::between(at(1000), at(5000) + AT_ONCE);
        assert_eq!(stamps, [wide, wide]);
    }
}

#[test]
fn a_limit_that_only_the_forwarding_would_decide_is_left_open() {
    let (clock, [mut bridge, _device, mut monitor]) = joined();
    let asked = Stamp::exact(Time::ZERO);
    bridge.forward(at(5000), b"a", Some(at(1000))).expect("room");
    let took = asked.until(read(&mut monitor, &clock, 5001).1[0]);
    let within = |micros: i64| took.judge(Limit { min: None, max: Some(micros * 1000) });
    assert_eq!([within(999), within(3000), within(5001)], [Verdict::Fail, Verdict::Inconclusive, Verdict::Pass]);
}

#[test]
fn what_is_passed_on_is_heard_once_it_was_and_stamped_until_it_has_left() {
    let (clock, [mut bridge, mut device, mut monitor]) = joined();
    device.write(at(1000), b"ab").expect("room");
    assert_eq!(device.left_by(), Time::FAR);
    // Nobody hears what the bridge has not read.
    bridge.passed_on(at(1500), at(1500));
    assert_eq!(monitor.next_arrival(), None);
    assert_eq!(read(&mut bridge, &clock, 2000).0, b"ab");
    // What comes meanwhile waits for its own turn.
    device.write(at(2500), b"c").expect("room");
    bridge.passed_on(at(3000), at(4000));
    let (bytes, stamps) = read(&mut monitor, &clock, 3000);
    assert_eq!(bytes, b"ab");
    let wide = Stamp::between(at(1000) + AT_ONCE, at(4000));
    assert_eq!(stamps, [wide, wide]);
    assert_eq!(device.left_by(), Time::FAR);
    assert_eq!(read(&mut bridge, &clock, 5000).0, b"c");
    bridge.passed_on(at(6000), at(7000));
    assert_eq!(read(&mut monitor, &clock, 6000).1, [Stamp::between(at(2500) + AT_ONCE, at(7000))]);
    assert_eq!(device.left_by(), at(7000));
}

#[test]
fn who_passes_on_takes_nothing_along_when_it_goes() {
    let (clock, [bridge, mut device, mut monitor]) = joined();
    device.write(at(1000), b"a").expect("room");
    drop(bridge);
    assert_eq!(read(&mut monitor, &clock, 2000).0, b"a");
    device.write(at(3000), b"b").expect("room");
    assert_eq!(read(&mut monitor, &clock, 4000), (b"b".to_vec(), vec![Stamp::exact(at(3000) + AT_ONCE)]));
}
