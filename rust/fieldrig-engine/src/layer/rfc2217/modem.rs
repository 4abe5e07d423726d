//! The modem lines of an emulated serial port (RFC 2217, SET-CONTROL and NOTIFY-MODEMSTATE).

use super::option::{self, CTS, DCD, DSR};
use fieldrig_proto::line::LineEvent;

/// How the modem lines of a serial server stand that has no real port.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ModemLines {
    /// CTS, DSR and DCD are on until the device says otherwise.
    #[default]
    Ready,
    /// Looped back: RTS of the client is its CTS, its DTR is its DSR and DCD.
    Loop,
    /// All are off until the device says otherwise.
    Off,
}

impl ModemLines {
    /// Reads its name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn named(name: &str) -> Result<ModemLines, String> {
        match name {
            "ready" => Ok(ModemLines::Ready),
            "loop" => Ok(ModemLines::Loop),
            "off" => Ok(ModemLines::Off),
            other => Err(format!("`modem={other}` is not ready, loop or off")),
        }
    }
}

/// What a client does to its lines when it opens the port; `None` leaves them as they are.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Drive {
    /// Data terminal ready.
    pub dtr: Option<bool>,
    /// Request to send.
    pub rts: Option<bool>,
}

impl Drive {
    /// As values of SET-CONTROL.
    pub(super) fn controls(self) -> impl Iterator<Item = u8> {
        let dtr = self.dtr.map(|on| if on { option::DTR_ON } else { option::DTR_OFF });
        dtr.into_iter().chain(self.rts.map(|on| if on { option::RTS_ON } else { option::RTS_OFF }))
    }
}

/// All control lines of the port, and what was told of them.
#[derive(Debug)]
pub(super) struct Modem {
    lines: ModemLines,
    /// What the client drives.
    rts: bool,
    dtr: bool,
    breaks: bool,
    flow: u8,
    flow_in: u8,
    /// What the client sees.
    state: u8,
}

impl Modem {
    pub(super) fn new(lines: ModemLines) -> Modem {
        let state = if lines == ModemLines::Off { 0 } else { CTS | DSR | DCD };
        let (flow, flow_in) = (option::NO_FLOW_CONTROL, option::NO_FLOW_CONTROL_IN);
        Modem { lines, rts: true, dtr: true, breaks: false, flow, flow_in, state }
    }

    /// What the client sees.
    pub(super) fn state(&self) -> u8 {
        self.state
    }

    /// The device drives its lines; what changed, in the low bits as the standard has them.
    pub(super) fn drive(&mut self, bits: u8, on: bool) -> u8 {
        let before = self.state;
        self.state = if on { before | bits } else { before & !bits };
        (before ^ self.state) >> 4
    }

    /// The client says a value of SET-CONTROL: the answer, and what the device sees of it.
    pub(super) fn control(&mut self, value: u8) -> (u8, Option<LineEvent>) {
        match value {
            option::ASK_FLOW_CONTROL => (self.flow, None),
            option::ASK_BREAK => (if self.breaks { option::BREAK_ON } else { option::BREAK_OFF }, None),
            option::ASK_DTR => (if self.dtr { option::DTR_ON } else { option::DTR_OFF }, None),
            option::ASK_RTS => (if self.rts { option::RTS_ON } else { option::RTS_OFF }, None),
            option::ASK_FLOW_CONTROL_IN => (self.flow_in, None),
            option::BREAK_ON | option::BREAK_OFF => {
                self.breaks = value == option::BREAK_ON;
                (value, self.breaks.then_some(LineEvent::Break))
            }
            option::DTR_ON | option::DTR_OFF => {
                self.dtr = value == option::DTR_ON;
                (value, Some(self.seen()))
            }
            option::RTS_ON | option::RTS_OFF => {
                self.rts = value == option::RTS_ON;
                (value, Some(self.seen()))
            }
            option::NO_FLOW_CONTROL..=option::HARDWARE_FLOW_CONTROL => {
                self.flow = value;
                (value, None)
            }
            option::NO_FLOW_CONTROL_IN..=option::HARDWARE_FLOW_CONTROL_IN => {
                self.flow_in = value;
                (value, None)
            }
            // By DCD, DTR or DSR: nobody here waits for them.
            17..=option::LAST_CONTROL => (value, None),
            _ => (self.flow, None),
        }
    }

    /// What changes at the client if its lines are looped back.
    pub(super) fn loop_back(&mut self) -> u8 {
        if self.lines != ModemLines::Loop {
            return 0;
        }
        let (rts, dtr) = (self.rts, self.dtr);
        self.drive(CTS, rts) | self.drive(DSR | DCD, dtr)
    }

    /// The lines of the client as the device sees them, crossed as in a null modem: its RTS is our CTS, its DTR our DSR
    /// and DCD.
    fn seen(&self) -> LineEvent {
        LineEvent::Modem { cts: self.rts, dsr: self.dtr, ri: false, dcd: self.dtr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_looped_follow_and_others_stand() {
        let mut modem = Modem::new(ModemLines::Loop);
        let (answer, seen) = modem.control(option::RTS_OFF);
        assert_eq!(answer, option::RTS_OFF);
        assert_eq!(seen, Some(LineEvent::Modem { cts: false, dsr: true, ri: false, dcd: true }));
        assert_eq!((modem.loop_back(), modem.state()), (CTS >> 4, DSR | DCD));
        let (_, seen) = modem.control(option::DTR_OFF);
        assert_eq!(seen, Some(LineEvent::Modem { cts: false, dsr: false, ri: false, dcd: false }));
        assert_eq!((modem.loop_back(), modem.state()), ((DSR | DCD) >> 4, 0));
        assert_eq!(modem.loop_back(), 0, "what stays is not told");
        let mut modem = Modem::new(ModemLines::Off);
        modem.control(option::RTS_ON);
        assert_eq!((modem.loop_back(), modem.state()), (0, 0));
        assert_eq!((modem.drive(CTS, true), modem.state()), (CTS >> 4, CTS));
    }

    #[test]
    fn what_is_asked_is_answered_as_it_was_set() {
        let mut modem = Modem::new(ModemLines::Ready);
        assert_eq!(modem.control(option::ASK_FLOW_CONTROL).0, option::NO_FLOW_CONTROL);
        for (set, ask) in [
            (option::HARDWARE_FLOW_CONTROL, option::ASK_FLOW_CONTROL),
            (option::BREAK_ON, option::ASK_BREAK),
            (option::BREAK_OFF, option::ASK_BREAK),
            (option::DTR_OFF, option::ASK_DTR),
            (option::RTS_OFF, option::ASK_RTS),
            (option::RTS_ON, option::ASK_RTS),
            (option::HARDWARE_FLOW_CONTROL_IN, option::ASK_FLOW_CONTROL_IN),
        ] {
            assert_eq!(modem.control(set).0, set);
            assert_eq!(modem.control(ask).0, set);
        }
        assert_eq!(modem.control(200), (option::HARDWARE_FLOW_CONTROL, None));
    }
}
