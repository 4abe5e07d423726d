//! COM-PORT-OPTION: the commands and values of RFC 2217.

use fieldrig_proto::line::{LineEvent, LineSettings, Parity, StopBits};

/// Added to the code of a command by who has the serial port.
pub(super) const BY_SERVER: u8 = 100;
pub(super) const SIGNATURE: u8 = 0;
pub(super) const SET_BAUDRATE: u8 = 1;
pub(super) const SET_DATASIZE: u8 = 2;
pub(super) const SET_PARITY: u8 = 3;
pub(super) const SET_STOPSIZE: u8 = 4;
pub(super) const SET_CONTROL: u8 = 5;
pub(super) const NOTIFY_LINESTATE: u8 = 6;
pub(super) const NOTIFY_MODEMSTATE: u8 = 7;
pub(super) const FLOWCONTROL_SUSPEND: u8 = 8;
pub(super) const FLOWCONTROL_RESUME: u8 = 9;
pub(super) const SET_LINESTATE_MASK: u8 = 10;
pub(super) const SET_MODEMSTATE_MASK: u8 = 11;
pub(super) const PURGE_DATA: u8 = 12;

/// Values of [`SET_CONTROL`].
pub(super) const ASK_FLOW_CONTROL: u8 = 0;
pub(super) const NO_FLOW_CONTROL: u8 = 1;
pub(super) const HARDWARE_FLOW_CONTROL: u8 = 3;
pub(super) const ASK_BREAK: u8 = 4;
pub(super) const ASK_DTR: u8 = 7;
pub(super) const ASK_RTS: u8 = 10;
pub(super) const ASK_FLOW_CONTROL_IN: u8 = 13;
pub(super) const NO_FLOW_CONTROL_IN: u8 = 14;
pub(super) const HARDWARE_FLOW_CONTROL_IN: u8 = 16;
pub(super) const LAST_CONTROL: u8 = 19;
pub(super) const BREAK_ON: u8 = 5;
pub(super) const BREAK_OFF: u8 = 6;
pub(super) const DTR_ON: u8 = 8;
pub(super) const DTR_OFF: u8 = 9;
pub(super) const RTS_ON: u8 = 11;
pub(super) const RTS_OFF: u8 = 12;
/// Values of [`PURGE_DATA`]: what was received from the line, what is to be sent on it, both.
pub(super) const PURGE_RECEIVED: u8 = 1;
pub(super) const PURGE_SENT: u8 = 2;
pub(super) const PURGE_BOTH: u8 = 3;

/// Bits of [`NOTIFY_MODEMSTATE`].
pub(super) const CTS: u8 = 0x10;
pub(super) const DSR: u8 = 0x20;
pub(super) const RI: u8 = 0x40;
pub(super) const DCD: u8 = 0x80;
/// Bits of [`NOTIFY_LINESTATE`].
const LINE_STATE: [(u8, LineEvent); 4] =
    [(0x02, LineEvent::Overrun), (0x04, LineEvent::Parity), (0x08, LineEvent::Framing), (BREAK, LineEvent::Break)];
/// The bit of a break.
pub(super) const BREAK: u8 = 0x10;
/// The bits of [`LINE_STATE`].
pub(super) const LINE_MASK: u8 = 0x1e;

/// One setting of a line, as it goes over the wire, and for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Setting {
    pub(super) command: u8,
    pub(super) value: Vec<u8>,
    pub(super) text: String,
}

/// The settings of a line, one by one.
pub(super) fn settings_of(line: &LineSettings) -> Vec<Setting> {
    let setting = |command, value: Vec<u8>, text| Setting { command, value, text };
    let (parity, word) = match line.parity {
        Parity::None => (1, "none"),
        Parity::Odd => (2, "odd"),
        Parity::Even => (3, "even"),
        Parity::Mark => (4, "mark"),
        Parity::Space => (5, "space"),
    };
    let stop = if line.stop_bits == StopBits::Two { 2 } else { 1 };
    vec![
        setting(SET_BAUDRATE, line.baud.to_be_bytes().to_vec(), format!("baud={}", line.baud)),
        setting(SET_DATASIZE, vec![line.data_bits], format!("data={}", line.data_bits)),
        setting(SET_PARITY, vec![parity], format!("parity={word}")),
        setting(SET_STOPSIZE, vec![stop], format!("stop={stop}")),
    ]
}

/// Changes one setting as a client wants it; false if there is no such value here.
pub(super) fn apply(line: &mut LineSettings, command: u8, value: &[u8]) -> bool {
    match (command, value) {
        (SET_BAUDRATE, [a, b, c, d]) => match u32::from_be_bytes([*a, *b, *c, *d]) {
            0 => return false,
            baud => line.baud = baud,
        },
        (SET_DATASIZE, [bits @ 5..=8]) => line.data_bits = *bits,
        (SET_PARITY, [1]) => line.parity = Parity::None,
        (SET_PARITY, [2]) => line.parity = Parity::Odd,
        (SET_PARITY, [3]) => line.parity = Parity::Even,
        (SET_PARITY, [4]) => line.parity = Parity::Mark,
        (SET_PARITY, [5]) => line.parity = Parity::Space,
        (SET_STOPSIZE, [1]) => line.stop_bits = StopBits::One,
        (SET_STOPSIZE, [2]) => line.stop_bits = StopBits::Two,
        _ => return false,
    }
    true
}

/// What a server says of a setting that it has instead.
pub(super) fn shown(command: u8, value: &[u8]) -> String {
    match (command, value) {
        (SET_BAUDRATE, [a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]).to_string(),
        (SET_PARITY, [code]) => match code {
            1 => "none".to_owned(),
            2 => "odd".to_owned(),
            3 => "even".to_owned(),
            4 => "mark".to_owned(),
            5 => "space".to_owned(),
            other => format!("code {other}"),
        },
        (SET_STOPSIZE, [3]) => "1.5".to_owned(),
        (_, [value]) => value.to_string(),
        _ => format!("{} bytes", value.len()),
    }
}

/// The events of a line state.
pub(super) fn line_events(state: u8) -> impl Iterator<Item = LineEvent> {
    LINE_STATE.into_iter().filter(move |(bit, _)| state & bit != 0).map(|(_, event)| event)
}

/// The line state of an event; 0 if it is none of the line.
pub(super) fn line_state(event: &LineEvent) -> u8 {
    LINE_STATE.iter().find(|(_, known)| known == event).map_or(0, |(bit, _)| *bit)
}

/// The event of a modem state.
pub(super) fn modem_event(state: u8) -> LineEvent {
    let has = |bit: u8| state & bit != 0;
    LineEvent::Modem { cts: has(CTS), dsr: has(DSR), ri: has(RI), dcd: has(DCD) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_over_the_wire_and_back() {
        let mut other: LineSettings = "9600 8N1".parse().expect("valid settings");
        for line in ["19200 7O2", "300 8M1", "300 8S1", "300 8E1", "300 8N1"] {
            let line: LineSettings = line.parse().expect("valid settings");
            for Setting { command, value, text } in settings_of(&line) {
                assert!(apply(&mut other, command, &value));
                assert!(text.ends_with(&shown(command, &value)), "{text}");
            }
            assert_eq!(other, line);
        }
        for (command, value) in
            [(SET_BAUDRATE, &[0, 0, 0, 0][..]), (SET_PARITY, &[6]), (SET_STOPSIZE, &[3]), (SET_DATASIZE, &[])]
        {
            assert!(!apply(&mut other, command, value));
        }
    }

    #[test]
    fn a_line_state_is_one_event_for_each_bit() {
        assert_eq!(line_events(0x14).collect::<Vec<_>>(), [LineEvent::Parity, LineEvent::Break]);
        assert_eq!(line_events(0x61).count(), 0);
        assert_eq!(modem_event(CTS | DCD), LineEvent::Modem { cts: true, dsr: false, ri: false, dcd: true });
    }
}
