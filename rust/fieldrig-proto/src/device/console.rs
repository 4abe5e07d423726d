//! The console of a device: lines of text on a serial wire, or on connections.
//!
//! Rules of this file:
//! - What the device says goes to every wire and connection of the face, each line ended by CR LF; a text with line feeds
//!   in it is several lines. The face may speak while the device boots, through wires.
//! - What comes in is cut into lines at CR, LF or CR LF and handed to the model. A line longer than the limit is not:
//!   `console.too_long` says so.
//! - The prompt comes when the device starts to run and after the answers to each line; a line that comes later
//!   begins on a line of its own and is followed by the prompt again.
//! - Whoever does not read loses lines, not the device its memory: beyond the high-water mark of the seam (rule 8 of the
//!   calling contract) lines are dropped and counted in `console.lost`.

use super::face::{Emission, Face, Heard};
use super::store::PointStore;
use crate::endpoint::{Action, Conn, HIGH_WATER, How, Input, Stamps, Why};
use crate::line::LineEvent;
use crate::line::delimiter::{Ending, Framer};
use crate::record::{Record, Value};
use crate::time::{Stamp, Time};
use std::collections::VecDeque;

/// The habits of a console, with what each does.
pub const CONSOLE_HABITS: &[(&str, &str)] = &[
    ("mute", "true: it says nothing any more"),
    ("deaf", "true: it takes no line any more"),
    ("echo", "true: it sends back what it receives"),
    ("prompt", "the text that asks for a line, empty for none"),
    ("ending", "how its lines end: \"crlf\", \"lf\" or \"cr\""),
];

/// How a console is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsoleSettings {
    /// Sends back what it receives.
    pub echo: bool,
    /// Asks for a line with this text; empty: does not ask.
    pub prompt: String,
    /// The longest line it takes, in bytes.
    pub limit: usize,
    /// Ends its lines with these bytes.
    pub ending: &'static str,
}

impl Default for ConsoleSettings {
    fn default() -> ConsoleSettings {
        ConsoleSettings { echo: false, prompt: String::new(), limit: 1024, ending: "\r\n" }
    }
}

impl ConsoleSettings {
    /// The bytes that a name of a line ending stands for.
    #[must_use]
    pub fn ending(name: &str) -> Option<&'static str> {
        [("crlf", "\r\n"), ("lf", "\n"), ("cr", "\r")].into_iter().find(|(known, _)| *known == name).map(|(_, end)| end)
    }
}

/// The console face of a device.
pub struct ConsoleFace {
    name: String,
    /// As declared, without habits.
    declared: ConsoleSettings,
    settings: ConsoleSettings,
    mute: bool,
    deaf: bool,
    running: bool,
    conns: Vec<Side>,
    heard: VecDeque<Heard>,
    closes: VecDeque<Conn>,
    events: VecDeque<Record>,
    /// The prompt is to follow what waits.
    prompt_due: bool,
    /// The prompt stands on the line now.
    at_prompt: bool,
}

struct Side {
    conn: Conn,
    framer: Framer,
    output: Vec<u8>,
    /// Bytes handed out since `Opened` or the last `Writable`.
    handed_out: usize,
    lost_lines: i64,
    /// The last byte was a CR: an LF now is no ending of its own.
    after_cr: bool,
}

impl Side {
    /// What the echo of these bytes looks like: every line ending as that of the console.
    fn echoed(&mut self, bytes: &[u8], ending: &str) -> Vec<u8> {
        let mut echoed = Vec::new();
        for byte in bytes {
            let second_of_crlf = self.after_cr && *byte == b'\n';
            self.after_cr = *byte == b'\r';
            match byte {
                b'\n' if second_of_crlf => {}
                b'\r' | b'\n' => echoed.extend_from_slice(ending.as_bytes()),
                _ => echoed.push(*byte),
            }
        }
        echoed
    }
}

impl ConsoleFace {
    /// A console.
    #[must_use]
    pub fn new(name: &str, settings: ConsoleSettings) -> ConsoleFace {
        ConsoleFace {
            name: name.to_owned(),
            declared: settings.clone(),
            settings,
            mute: false,
            deaf: false,
            running: false,
            conns: Vec::new(),
            heard: VecDeque::new(),
            closes: VecDeque::new(),
            events: VecDeque::new(),
            prompt_due: false,
            at_prompt: false,
        }
    }

    fn side(&mut self, conn: Conn) -> Option<&mut Side> {
        self.conns.iter_mut().find(|side| side.conn == conn)
    }

    fn opened(&mut self, conn: Conn) {
        let framer = Framer::new(Ending::Line, self.settings.limit);
        self.conns.push(Side { conn, framer, output: Vec::new(), handed_out: 0, lost_lines: 0, after_cr: false });
        self.prompt_due |= self.running;
    }

    fn received(&mut self, conn: Conn, bytes: &[u8], stamps: Stamps<'_>) {
        let (echo, deaf, ending) = (self.settings.echo, self.deaf, self.settings.ending);
        let Some(side) = self.side(conn) else { return };
        if deaf {
            return;
        }
        side.framer.push(bytes, stamps);
        let frames: Vec<_> = std::iter::from_fn(|| side.framer.poll()).collect();
        let echoed = side.echoed(bytes, ending);
        if echo {
            self.say(&echoed);
        }
        for frame in frames {
            self.prompt_due = true;
            self.at_prompt = false;
            if frame.dropped > 0 {
                let length = i64::try_from(frame.bytes.len() + frame.dropped).unwrap_or(i64::MAX);
                let record = Record::new("console.too_long").at(frame.last).conn(conn).with("length", length);
                self.events.push_back(record);
            } else {
                self.heard.push_back(Heard::Line(String::from_utf8_lossy(&frame.bytes).into_owned()));
            }
        }
    }

    /// Sends to all; whoever is too far behind loses it whole.
    fn say(&mut self, bytes: &[u8]) {
        if self.mute {
            return;
        }
        for side in &mut self.conns {
            if side.handed_out + side.output.len() >= HIGH_WATER {
                side.lost_lines += 1;
            } else {
                side.output.extend_from_slice(bytes);
            }
        }
    }

    fn say_line(&mut self, text: &str) {
        let ending = self.settings.ending;
        let mut bytes = String::new();
        if self.at_prompt {
            bytes.push_str(ending);
            self.at_prompt = false;
            self.prompt_due = true;
        }
        for line in text.split('\n') {
            bytes.push_str(line.trim_end_matches('\r'));
            bytes.push_str(ending);
        }
        self.say(bytes.as_bytes());
    }

    /// A line whose fate the model wants to know.
    fn asked(&mut self, ask: &Value) -> Heard {
        let token = Emission::token(ask);
        match ask.entry("line").and_then(Value::as_str) {
            None => Emission::failed(token, "refused", "a console takes `line`, a text"),
            Some(_) if self.conns.is_empty() => Emission::failed(token, "lost", "nobody is connected to the console"),
            Some(line) => {
                self.say_line(line);
                Emission::answered(token)
            }
        }
    }

    fn say_prompt(&mut self) {
        if std::mem::take(&mut self.prompt_due) && self.running && !self.settings.prompt.is_empty() {
            let prompt = self.settings.prompt.clone();
            self.say(prompt.as_bytes());
            self.at_prompt = true;
        }
    }

    fn drained(&mut self, now: Time, conn: Conn) {
        let Some(side) = self.side(conn) else { return };
        side.handed_out = 0;
        let lost = std::mem::take(&mut side.lost_lines);
        if lost > 0 {
            let record = Record::new("console.lost").at(Stamp::exact(now)).conn(conn).with("lines", lost);
            self.events.push_back(record);
        }
    }

    fn closed(&mut self, conn: Conn, why: &Why) {
        if *why == Why::Finished && self.side(conn).is_some() {
            self.closes.push_back(conn);
        }
        self.conns.retain(|side| side.conn != conn);
    }
}

impl Face for ConsoleFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, now: Time, input: Input<'_>, _store: &mut PointStore) {
        match input {
            Input::Opened(conn, _) => self.opened(conn),
            Input::Bytes(conn, bytes, stamps) => self.received(conn, bytes, stamps),
            Input::Closed(conn, why) => self.closed(conn, &why),
            Input::Writable(conn) => self.drained(now, conn),
            Input::Line(conn, event, _) => {
                if event == LineEvent::Break
                    && let Some(side) = self.side(conn)
                {
                    side.framer.reset();
                }
                let record = Record::new("console.line").at(Stamp::exact(now)).conn(conn);
                self.events.push_back(record.with("event", format!("{event:?}")));
            }
            Input::Datagram(..) | Input::Timed(..) => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time, _store: &mut PointStore) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn store_changed(&mut self, _now: Time, _store: &PointStore) {}

    fn emit(&mut self, _now: Time, emission: &Emission) {
        match emission {
            Emission::Line(text) => self.say_line(text),
            Emission::Ask(ask) => {
                let answer = self.asked(ask);
                self.heard.push_back(answer);
            }
            Emission::Publish { .. } => {}
        }
    }

    fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        self.say_prompt();
        if let Some(side) = self.conns.iter_mut().find(|side| !side.output.is_empty()) {
            let from = out.len();
            side.handed_out += side.output.len();
            out.append(&mut side.output);
            return Some(Action::send(side.conn, from..out.len()));
        }
        self.closes.pop_front().map(|conn| Action::Close(conn, How::Fin))
    }

    fn poll_event(&mut self) -> Option<Record> {
        self.events.pop_front()
    }

    fn power(&mut self, _now: Time, on: bool, _store: &PointStore) {
        self.running = on;
        self.prompt_due = on;
        self.at_prompt = false;
        if !on {
            self.conns.clear();
            self.heard.clear();
            self.closes.clear();
        }
    }

    fn set_habit(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let undo = value.as_str() == Some("default");
        let truth = || value.as_i64().filter(|number| (0..=1).contains(number)).map(|number| number == 1);
        let wrong = |expected: &str| format!("habit `{name}` takes {expected}, {value} is none");
        match name {
            "mute" if undo => self.mute = false,
            "deaf" if undo => self.deaf = false,
            "echo" if undo => self.settings.echo = self.declared.echo,
            "prompt" if undo => self.settings.prompt.clone_from(&self.declared.prompt),
            "ending" if undo => self.settings.ending = self.declared.ending,
            "mute" => self.mute = truth().ok_or_else(|| wrong("true or false"))?,
            "deaf" => self.deaf = truth().ok_or_else(|| wrong("true or false"))?,
            "echo" => self.settings.echo = truth().ok_or_else(|| wrong("true or false"))?,
            "prompt" => self.settings.prompt = value.as_str().ok_or_else(|| wrong("a text"))?.to_owned(),
            "ending" => {
                let ending = value.as_str().and_then(ConsoleSettings::ending);
                self.settings.ending = ending.ok_or_else(|| wrong("\"crlf\", \"lf\" or \"cr\""))?;
            }
            _ => {
                let names: Vec<&str> = CONSOLE_HABITS.iter().map(|(name, _)| *name).collect();
                return Err(format!("a console has no habit `{name}`; it has: {}", names.join(", ")));
            }
        }
        Ok(())
    }
}
