//! A serial line over Telnet above a connection that a test plays.

use super::option::{self, settings_of};
use super::telnet::{COM_PORT, put_com_port};
use super::{Drive, Rfc2217Port, Side};
use crate::clock::{Clock, ClockKind};
use crate::port::{Arrival, Look, Port, Read};
use fieldrig_proto::line::{LineCommand, LineSettings};
use fieldrig_proto::time::{Duration, Time};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};

/// What comes in, look by look, and what went out.
#[derive(Clone, Default)]
struct Played(Arc<Mutex<Traffic>>);

#[derive(Default)]
struct Traffic {
    comes: VecDeque<Vec<u8>>,
    went: Vec<u8>,
}

impl Played {
    fn says(&self, bytes: &[u8]) {
        self.0.lock().expect("nobody panicked").comes.push_back(bytes.to_vec());
    }

    fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().expect("nobody panicked").went)
    }
}

impl Port for Played {
    fn fd(&self) -> Option<RawFd> {
        None
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        let Some(bytes) = self.0.lock().expect("nobody panicked").comes.pop_front() else { return Read::Nothing };
        look.buffer[..bytes.len()].copy_from_slice(&bytes);
        Read::Bytes(bytes.len(), Arrival::Unstamped)
    }

    fn write(&mut self, _now: Time, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").went.extend(bytes);
        Ok(bytes.len())
    }
}

/// All that the port gives now: bytes, and the name of what else it was.
fn read(port: &mut Rfc2217Port, clock: &Clock) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let mut buffer = [0; 64];
        let look = Look { clock, since: clock.now(), wait: false, buffer: &mut buffer, stamps: &mut Vec::new() };
        match port.read(look) {
            Read::Nothing => return found,
            Read::Bytes(count, _) => found.push(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            Read::Opened(_) => found.push("opened".to_owned()),
            Read::HungUp(why) => {
                found.push(format!("hung up: {why}"));
                return found;
            }
            other => found.push(format!("{other:?}")),
        }
    }
}

fn line() -> LineSettings {
    "9600 8N1".parse().expect("valid settings")
}

/// A server confirms these.
fn confirmed(settings: &LineSettings) -> Vec<u8> {
    let mut bytes = Vec::new();
    for setting in settings_of(settings) {
        put_com_port(&mut bytes, setting.command + option::BY_SERVER, &setting.value);
    }
    bytes
}

/// A client whose line was set.
fn client(clock: &Clock, drive: Drive) -> (Rfc2217Port, Played) {
    let played = Played::default();
    let mut port = Rfc2217Port::new(Box::new(played.clone()), Side::Client { drive, holds: None }, line());
    played.says(&[255, 253, COM_PORT]);
    played.says(&confirmed(&line()));
    assert_eq!(read(&mut port, clock), Vec::<String>::new(), "what it threw away is not confirmed yet");
    let mut last = Vec::new();
    put_com_port(&mut last, option::SET_STOPSIZE + option::BY_SERVER, &[1]);
    played.says(&last);
    assert_eq!(read(&mut port, clock), ["opened"]);
    (port, played)
}

#[test]
fn what_a_client_does_to_its_modem_lines_on_opening_is_said() {
    let clock = Clock::new(ClockKind::Virtual);
    for (drive, said) in [
        (Drive { dtr: Some(false), rts: Some(true) }, vec![option::DTR_OFF, option::RTS_ON]),
        (Drive { dtr: Some(true), rts: Some(false) }, vec![option::DTR_ON, option::RTS_OFF]),
        (Drive::default(), vec![]),
    ] {
        let (_, played) = client(&clock, drive);
        let heard = played.heard();
        let control = [255, 250, COM_PORT, option::SET_CONTROL];
        let values = heard.windows(5).filter(|window| window.starts_with(&control)).map(|window| window[4]);
        assert_eq!(values.filter(|value| *value != option::NO_FLOW_CONTROL).collect::<Vec<_>>(), said);
    }
}

#[test]
fn a_setting_that_a_server_does_not_answer_ends_the_line_and_one_that_it_answers_late_does_not() {
    for answers in [true, false] {
        let clock = Clock::new(ClockKind::Virtual);
        let (mut port, played) = client(&clock, Drive::default());
        let other: LineSettings = "300 8N1".parse().expect("valid settings");
        assert_eq!(port.answer_by(), None);
        port.command(clock.now(), &LineCommand::Settings(other)).expect("it is said");
        let limit = port.answer_by().expect("it has to be answered");
        clock.advance(limit - Duration::from_nanos(1));
        assert_eq!(read(&mut port, &clock), Vec::<String>::new());
        if answers {
            played.says(&confirmed(&other));
            played.says(b"still here");
        }
        clock.advance(limit);
        let told =
            if answers { "still here" } else { "hung up: the serial server did not answer to baud=300 within 5s" };
        assert_eq!(read(&mut port, &clock), [told]);
        assert_eq!(port.answer_by(), None);
    }
}

#[test]
fn a_client_that_is_suspended_takes_nothing_until_it_is_resumed() {
    let clock = Clock::new(ClockKind::Virtual);
    let (mut port, played) = client(&clock, Drive::default());
    played.heard();
    let said = |command| {
        let mut bytes = Vec::new();
        put_com_port(&mut bytes, command + option::BY_SERVER, &[]);
        bytes
    };
    played.says(&said(option::FLOWCONTROL_SUSPEND));
    assert_eq!(read(&mut port, &clock), Vec::<String>::new());
    let refused = port.write(clock.now(), b"data").expect_err("it is suspended");
    assert_eq!((refused.kind(), port.holds_back(), port.holds_output()), (io::ErrorKind::WouldBlock, true, false));
    assert_eq!(played.heard(), b"");
    played.says(&said(option::FLOWCONTROL_RESUME));
    assert_eq!(read(&mut port, &clock), Vec::<String>::new());
    assert!(!port.holds_back());
    assert_eq!(port.write(clock.now(), b"data").expect("it is resumed"), 4);
    assert_eq!(played.heard(), b"data");
}
