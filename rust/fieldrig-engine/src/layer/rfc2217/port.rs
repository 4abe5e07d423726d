//! A connection that carries a serial line, as a port.

use super::modem::{Drive, Modem, ModemLines};
use super::option::{self, BY_SERVER, Setting};
use super::telnet::{COM_PORT, Said, Telnet, put_com_port, put_data};
use crate::layer::tls::Refusal;
use crate::port::mismatch::Sides;
use crate::port::{Arrival, Look, Mismatch, Port, Read};
use fieldrig_proto::line::{LineCommand, LineEvent, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::io;
use std::os::fd::RawFd;

/// How much one look at the port below takes.
const RAW: usize = 16 * 1024;
/// So long may a serial server have held a byte back, if nothing else is said: as a USB adapter, of which one may stand behind it.
const HELD_BACK: Duration = Duration::from_millis(20);
/// So long may a serial server take to say that it has set its line otherwise.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// So much output waits here before nothing more is taken.
const MOST_OUTPUT: usize = 64 * 1024;
/// So much of it, with answers that Telnet and RFC 2217 demand, and who does not read them is left.
const MOST_ANSWERS: usize = 1024 * 1024;

/// Which side of the line we are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// The serial port is at the other end.
    Client {
        /// What is done to its modem lines on opening.
        drive: Drive,
        /// So long may the server have held a byte back, if that was said.
        holds: Option<Duration>,
    },
    /// We have the serial port.
    Server {
        /// What happens if the client sets another speed or format.
        mismatch: Mismatch,
        /// How its modem lines stand.
        modem: ModemLines,
    },
}

/// A connection that carries a serial line.
pub(crate) struct Rfc2217Port {
    below: Box<dyn Port>,
    side: Side,
    sides: Sides,
    telnet: Telnet,
    /// The other side has to confirm these yet.
    unconfirmed: Vec<Setting>,
    /// By when, once the line is ours.
    confirmed_by: Option<Time>,
    opening: bool,
    /// COM-PORT-OPTION was agreed on, and the settings were sent.
    agreed: bool,
    refused: Option<String>,
    /// Nothing can be written any more, and why; what came in before is still read.
    broken: Option<String>,
    /// The other side wants no data for now.
    suspended: bool,
    /// Data that wait for the other side to want them again.
    held: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
    /// When what was taken and not yet given came.
    arrival: Arrival,
    /// Control lines: who listens only.
    modem: Modem,
    /// Of which line states and modem lines the client wants to hear: who listens only.
    masks: [u8; 2],
    raw: Box<[u8]>,
}

impl Rfc2217Port {
    /// Puts the layer on a connection; `settings` are those of the line.
    pub(crate) fn new(below: Box<dyn Port>, side: Side, settings: LineSettings) -> Rfc2217Port {
        let (mismatch, lines) = match side {
            Side::Client { .. } => (Mismatch::Unseen, ModemLines::default()),
            Side::Server { mismatch, modem } => (mismatch, modem),
        };
        let mut port = Rfc2217Port {
            below,
            side,
            sides: Sides::new(settings, mismatch),
            telnet: Telnet::default(),
            unconfirmed: Vec::new(),
            confirmed_by: None,
            opening: matches!(side, Side::Client { .. }),
            agreed: false,
            refused: None,
            broken: None,
            suspended: false,
            held: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            arrival: Arrival::Unstamped,
            modem: Modem::new(lines),
            masks: [0, 0xff],
            raw: vec![0; RAW].into_boxed_slice(),
        };
        port.telnet.offer(port.is_client(), &mut port.outgoing);
        port
    }

    fn is_client(&self) -> bool {
        matches!(self.side, Side::Client { .. })
    }

    /// Says a command of COM-PORT-OPTION.
    fn say(&mut self, command: u8, value: &[u8]) {
        let code = if self.is_client() { command } else { command.wrapping_add(BY_SERVER) };
        put_com_port(&mut self.outgoing, code, value);
    }

    fn set(&mut self, settings: &LineSettings) {
        for setting in option::settings_of(settings) {
            self.say(setting.command, &setting.value);
            self.unconfirmed.push(setting);
        }
        self.sides.ours = *settings;
        self.sides.theirs = *settings;
    }

    /// What was read from below: data and what was said, in order.
    fn take(&mut self, count: usize) {
        let raw = std::mem::take(&mut self.raw);
        let mut data = Vec::new();
        for byte in &raw[..count] {
            for said in self.telnet.take(std::slice::from_ref(byte), &mut data, &mut self.outgoing) {
                self.take_data(&mut data);
                self.said(said);
            }
        }
        self.take_data(&mut data);
        self.raw = raw;
    }

    /// The line is set as we want it, and what it said before is thrown away.
    fn is_ours(&self) -> bool {
        !self.opening || (self.agreed && self.unconfirmed.is_empty())
    }

    /// What the line said before it was ours is nobody's.
    fn take_data(&mut self, data: &mut Vec<u8>) {
        if self.is_ours() {
            self.sides.take(data);
        }
        data.clear();
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Agreed(COM_PORT) if self.is_client() && !self.agreed => self.begin(),
            Said::Agreed(COM_PORT) => self.welcome(),
            Said::Refused(COM_PORT) if self.opening => {
                self.refuse("it does not do COM-PORT-OPTION (RFC 2217): is it a plain Telnet or TCP port?");
            }
            Said::Agreed(_) | Said::Refused(_) => {}
            Said::ComPort(code, value) if self.is_client() => self.hear_server(code, &value),
            Said::ComPort(code, value) => {
                // Who speaks the option has agreed to it, whichever offer crossed which.
                self.welcome();
                self.hear_client(code, &value);
            }
        }
    }

    /// All changes of the modem lines are told unless a client says otherwise: so is how they stand when it comes.
    fn welcome(&mut self) {
        if !self.agreed {
            self.agreed = true;
            let modem = self.modem.state();
            self.say(option::NOTIFY_MODEMSTATE, &[modem]);
        }
    }

    /// The option is agreed on: the line is set.
    fn begin(&mut self) {
        self.agreed = true;
        let settings = self.sides.ours;
        self.set(&settings);
        self.say(option::SET_CONTROL, &[option::NO_FLOW_CONTROL]);
        if let Side::Client { drive, .. } = self.side {
            drive.controls().for_each(|control| self.say(option::SET_CONTROL, &[control]));
        }
        self.say(option::SET_LINESTATE_MASK, &[option::LINE_MASK]);
        self.say(option::SET_MODEMSTATE_MASK, &[0xff]);
        self.say(option::PURGE_DATA, &[option::PURGE_BOTH]);
        // Not all servers answer a purge; who answers what stands behind it has done it.
        if let Some(last) = option::settings_of(&settings).pop() {
            self.say(last.command, &last.value);
            self.unconfirmed.push(last);
        }
    }

    fn refuse(&mut self, why: impl Into<String>) {
        self.refused.get_or_insert(why.into());
    }

    fn hear_server(&mut self, code: u8, value: &[u8]) {
        let command = code.wrapping_sub(BY_SERVER);
        match (command, value) {
            (option::SET_BAUDRATE..=option::SET_STOPSIZE, value) => self.confirm(command, value),
            (option::NOTIFY_LINESTATE, [state]) if self.is_ours() => {
                option::line_events(*state).for_each(|event| self.sides.tell(event));
            }
            (option::NOTIFY_MODEMSTATE, [state]) if self.is_ours() => self.sides.tell(option::modem_event(*state)),
            (option::FLOWCONTROL_SUSPEND, _) => self.suspended = true,
            (option::FLOWCONTROL_RESUME, _) => {
                self.suspended = false;
                self.outgoing.append(&mut self.held);
            }
            _ => {}
        }
    }

    /// A server says how its port is set. It answers each command with the value that holds (RFC 2217 section 2), in
    /// order: settings that follow each other at once are told apart by it. What it says unasked holds, too.
    fn confirm(&mut self, command: u8, value: &[u8]) {
        let is = option::shown(command, value);
        if let Some(index) = self.unconfirmed.iter().position(|setting| setting.command == command) {
            let wanted = self.unconfirmed.remove(index);
            if wanted.value != value {
                self.refuse(format!("the serial server refused {}: it says {is}", wanted.text));
            }
        } else if self.agreed
            && let Some(ours) = option::settings_of(&self.sides.ours).into_iter().find(|ours| ours.command == command)
            && ours.value != value
        {
            self.refuse(format!("the serial server changed {}: it says {is} now", ours.text));
        }
    }

    /// A client tells us how to set our serial port.
    fn hear_client(&mut self, command: u8, value: &[u8]) {
        match (command, value) {
            (option::SIGNATURE, _) => self.say(option::SIGNATURE, b"fieldrig"),
            (option::SET_BAUDRATE..=option::SET_STOPSIZE, value) => {
                let mut theirs = self.sides.theirs;
                option::apply(&mut theirs, command, value);
                if self.sides.set(theirs) {
                    self.sides.tell(LineEvent::Settings(theirs));
                }
                let now = option::settings_of(&theirs).into_iter().find(|setting| setting.command == command);
                self.say(command, &now.map(|setting| setting.value).unwrap_or_default());
            }
            (option::SET_CONTROL, [control]) => self.control(*control),
            (option::FLOWCONTROL_SUSPEND, _) => self.suspended = true,
            (option::FLOWCONTROL_RESUME, _) => {
                self.suspended = false;
                self.outgoing.append(&mut self.held);
            }
            (option::PURGE_DATA, [what]) => {
                // What stands behind it came after it, and stays.
                if matches!(*what, option::PURGE_RECEIVED | option::PURGE_BOTH) {
                    self.held.clear();
                }
                if matches!(*what, option::PURGE_SENT | option::PURGE_BOTH) {
                    self.sides.purge();
                }
                self.say(command, value);
            }
            (option::SET_LINESTATE_MASK, [mask]) => {
                self.masks[0] = *mask;
                self.say(command, value);
            }
            (option::SET_MODEMSTATE_MASK, [mask]) => {
                self.masks[1] = *mask;
                self.say(command, value);
                let modem = self.modem.state();
                self.say(option::NOTIFY_MODEMSTATE, &[modem]);
            }
            _ => {}
        }
    }

    /// The client drives its lines.
    fn control(&mut self, control: u8) {
        let (answer, event) = self.modem.control(control);
        if let Some(event) = event {
            self.sides.tell(event);
        }
        self.say(option::SET_CONTROL, &[answer]);
        let changed = self.modem.loop_back();
        self.notify_modem(changed);
    }

    /// Modem lines changed, as the low bits of a modem state say.
    fn notify_modem(&mut self, changed: u8) {
        let modem = self.modem.state();
        // The mask names lines as well as changes of them.
        if (changed | changed << 4) & self.masks[1] != 0 {
            self.say(option::NOTIFY_MODEMSTATE, &[(modem | changed) & (self.masks[1] | 0x0f)]);
        }
    }

    /// Something is wrong with what the client hears.
    fn notify_line(&mut self, event: &LineEvent) {
        let state = option::line_state(event) & self.masks[0];
        if state != 0 {
            self.say(option::NOTIFY_LINESTATE, &[state]);
        }
    }

    /// Writes what waits, as far as the port below takes it.
    fn push(&mut self, now: Time) -> io::Result<()> {
        while self.written < self.outgoing.len() {
            match self.below.write(now, &self.outgoing[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.outgoing.clear();
                    self.held.clear();
                    self.written = 0;
                    self.broken = Some(error.to_string());
                    return Err(error);
                }
            }
        }
        self.outgoing.clear();
        self.written = 0;
        Ok(())
    }

    /// What waits inside, if anything does.
    fn give(&mut self, buffer: &mut [u8]) -> Option<Read> {
        if let Some(why) = &self.refused {
            let why = why.clone();
            if self.opening {
                return Some(Read::Refused(Refusal::new(why)));
            }
            // What came before it is read before it.
            return Some(self.sides.give(buffer, self.arrival).unwrap_or(Read::HungUp(why)));
        }
        if self.opening && self.is_ours() {
            self.opening = false;
            return Some(Read::Opened(Box::default()));
        }
        if self.opening {
            return None;
        }
        self.sides.give(buffer, self.arrival)
    }

    /// When what comes now may have been on the line.
    fn on_the_line(&self, arrival: Arrival, stamps: &[Stamp]) -> Arrival {
        let (Arrival::Last(stamp) | Arrival::Together(stamp)) = arrival else {
            // Ports in memory stamp each byte; of those that are data only the last instant is kept.
            return stamps.last().map_or(Arrival::Unstamped, |stamp| Arrival::Together(*stamp));
        };
        let stamp = Stamp::between(stamp.earliest() - self.resolution(), stamp.latest());
        if let Arrival::Last(_) = arrival { Arrival::Last(stamp) } else { Arrival::Together(stamp) }
    }
}

impl Port for Rfc2217Port {
    fn fd(&self) -> Option<RawFd> {
        self.below.fd()
    }

    fn read(&mut self, look: Look<'_>) -> Read {
        let Look { clock, since, buffer, stamps, .. } = look;
        loop {
            // If it fails, what came in before is still read, up to the end that the port below tells.
            let _ = self.push(clock.now());
            if self.outgoing.len() - self.written > MOST_ANSWERS {
                return self.ended("the other side asks and does not read the answers".to_owned());
            }
            if let Some(found) = self.give(buffer) {
                return found;
            }
            stamps.clear();
            let below = Look { clock, since, wait: false, buffer: &mut self.raw, stamps };
            match self.below.read(below) {
                Read::Bytes(count, arrival) => {
                    self.arrival = self.on_the_line(arrival, stamps);
                    self.take(count);
                }
                Read::Finished => return self.ended("the other side closed the connection".to_owned()),
                Read::Reset(why) | Read::HungUp(why) => return self.ended(why),
                Read::Nothing if self.answer_by().is_some_and(|limit| limit <= clock.now()) => {
                    let late = self.unconfirmed.first().map(|setting| setting.text.as_str()).unwrap_or_default();
                    self.refuse(format!("the serial server did not answer to {late} within {ANSWER_LIMIT:?}"));
                }
                Read::Nothing => match self.broken.clone() {
                    Some(why) => return self.ended(why),
                    None => return Read::Nothing,
                },
                other => return other,
            }
        }
    }

    fn write(&mut self, now: Time, bytes: &[u8]) -> io::Result<usize> {
        if self.holds_back() || self.outgoing.len() - self.written > MOST_OUTPUT {
            self.push(now)?;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let suspended = self.suspended;
        let garbled = if self.sides.differ() { Some(self.sides.say(bytes)) } else { None };
        let bytes_out = garbled.as_ref().map_or(bytes, |(garbled, _)| garbled);
        put_data(if suspended { &mut self.held } else { &mut self.outgoing }, bytes_out);
        garbled.iter().flat_map(|(_, events)| events).for_each(|event| self.notify_line(event));
        self.push(now)?;
        Ok(bytes.len())
    }

    fn is_opening(&self) -> bool {
        self.opening
    }

    fn holds_input(&self) -> bool {
        self.sides.waits() || self.refused.is_some()
    }

    /// A serial server keeps what its line said while the client wants nothing, as far as it has room.
    fn holds_back(&self) -> bool {
        self.suspended && (self.is_client() || self.held.len() > MOST_OUTPUT)
    }

    fn answer_by(&self) -> Option<Time> {
        self.confirmed_by.filter(|_| !self.unconfirmed.is_empty() && self.refused.is_none())
    }

    fn holds_output(&self) -> bool {
        self.written < self.outgoing.len()
    }

    fn flush(&mut self, now: Time) -> io::Result<()> {
        self.push(now)
    }

    fn left_by(&self) -> Time {
        if self.holds_output() || !self.held.is_empty() { Time::FAR } else { self.below.left_by() }
    }

    fn finish(&mut self) {
        self.below.finish();
    }

    fn reset(&mut self) {
        self.below.reset();
    }

    fn command(&mut self, now: Time, command: &LineCommand) -> io::Result<()> {
        if self.is_client() {
            let control = match command {
                LineCommand::Settings(settings) => {
                    self.set(settings);
                    self.confirmed_by = Some(now + ANSWER_LIMIT);
                    return self.push(now);
                }
                LineCommand::Break(length) if length.is_zero() => option::BREAK_OFF,
                LineCommand::Break(_) => option::BREAK_ON,
                LineCommand::Dtr(on) => {
                    if *on {
                        option::DTR_ON
                    } else {
                        option::DTR_OFF
                    }
                }
                LineCommand::Rts(on) => {
                    if *on {
                        option::RTS_ON
                    } else {
                        option::RTS_OFF
                    }
                }
            };
            self.say(option::SET_CONTROL, &[control]);
            return self.push(now);
        }
        let (bits, on) = match command {
            LineCommand::Settings(settings) => {
                self.sides.ours = *settings;
                return Ok(());
            }
            LineCommand::Break(length) if length.is_zero() => return Ok(()),
            LineCommand::Break(_) => {
                self.notify_line(&LineEvent::Break);
                return self.push(now);
            }
            LineCommand::Dtr(on) => (option::DSR | option::DCD, *on),
            LineCommand::Rts(on) => (option::CTS, *on),
        };
        let changed = self.modem.drive(bits, on);
        self.notify_modem(changed);
        self.push(now)
    }

    fn resolution(&self) -> Duration {
        match self.side {
            Side::Client { holds, .. } => holds.unwrap_or(HELD_BACK),
            Side::Server { .. } => Duration::ZERO,
        }
    }

    fn resolution_note(&self) -> String {
        match self.side {
            Side::Client { holds: None, .. } => {
                format!(
                    "assumed of a serial server; `holds=` in its URL says another, from 0 to {HELD_BACK:?} and more"
                )
            }
            Side::Client { holds: Some(_), .. } => "as its URL says".to_owned(),
            Side::Server { .. } => String::new(),
        }
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        self.sides.ours.character_time() * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Rfc2217Port {
    /// To an endpoint a connection that ends is a port that went away.
    fn ended(&self, why: String) -> Read {
        match self.opening {
            true => Read::Refused(Refusal::new(format!("{why}, before the line was set"))),
            false => Read::HungUp(why),
        }
    }
}
