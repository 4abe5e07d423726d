//! Telnet as far as RFC 2217 needs it (RFC 854, 855, 856): commands and data apart, options offered and answered.

/// Interpret as command; as data it is doubled.
pub(super) const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;

/// RFC 856.
pub(super) const BINARY: u8 = 0;
/// RFC 858, suppress go-ahead.
pub(super) const GO_AHEAD: u8 = 3;
/// RFC 2217.
pub(super) const COM_PORT: u8 = 44;
/// What both sides of a serial line over Telnet do if they are asked to.
const WANTED: [u8; 3] = [BINARY, GO_AHEAD, COM_PORT];

/// The longest subnegotiation that is looked at; those of RFC 2217 have 5 bytes, but for signatures.
const LONGEST: usize = 256;

/// What the other side said besides data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// It does not want us to do this option.
    Refused(u8),
    /// Both sides do this option now.
    Agreed(u8),
    /// A subnegotiation of COM-PORT-OPTION: command and value.
    ComPort(u8, Vec<u8>),
}

/// Where the next byte stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Data,
    Command,
    Option(u8),
    Sub,
    SubCommand,
}

/// One side of a Telnet connection.
#[derive(Debug, Default)]
pub(super) struct Telnet {
    state: State,
    sub: Vec<u8>,
    too_long: bool,
    /// Options we said that we will do.
    ours: Vec<u8>,
    /// Options we asked the other side to do.
    theirs: Vec<u8>,
}

impl Telnet {
    /// Offers what a serial line needs. Of COM-PORT-OPTION the client says that it will send commands, and the server
    /// that it takes them (RFC 2217 section 1): a server that is asked to send commands itself refuses that, rightly.
    pub(super) fn offer(&mut self, client: bool, out: &mut Vec<u8>) {
        for option in WANTED {
            if option != COM_PORT || client {
                out.extend_from_slice(&[IAC, WILL, option]);
                self.ours.push(option);
            }
            if option != COM_PORT || !client {
                out.extend_from_slice(&[IAC, DO, option]);
                self.theirs.push(option);
            }
        }
    }

    /// Takes bytes: data is appended to `data`, answers that Telnet demands to `out`, the rest is what was said.
    pub(super) fn take(&mut self, bytes: &[u8], data: &mut Vec<u8>, out: &mut Vec<u8>) -> Vec<Said> {
        let mut said = Vec::new();
        for byte in bytes {
            self.take_byte(*byte, data, out, &mut said);
        }
        said
    }

    fn take_byte(&mut self, byte: u8, data: &mut Vec<u8>, out: &mut Vec<u8>, said: &mut Vec<Said>) {
        self.state = match std::mem::take(&mut self.state) {
            State::Data if byte == IAC => State::Command,
            State::Data => {
                data.push(byte);
                State::Data
            }
            State::Command => match byte {
                IAC => {
                    data.push(IAC);
                    State::Data
                }
                WILL | WONT | DO | DONT => State::Option(byte),
                SB => {
                    self.sub.clear();
                    self.too_long = false;
                    State::Sub
                }
                // Everything else (no operation, go-ahead, ..) means nothing on a serial line.
                _ => State::Data,
            },
            State::Option(command) => {
                self.negotiate(command, byte, out, said);
                State::Data
            }
            State::Sub if byte == IAC => State::SubCommand,
            State::Sub => {
                self.push_sub(byte);
                State::Sub
            }
            State::SubCommand => match byte {
                IAC => {
                    self.push_sub(IAC);
                    State::Sub
                }
                // The end; a command inside ends it, too (RFC 855 wants SE, and nothing else may stand there).
                _ => {
                    if let (SE, false, [COM_PORT, command, value @ ..]) = (byte, self.too_long, &self.sub[..]) {
                        said.push(Said::ComPort(*command, value.to_vec()));
                    }
                    State::Data
                }
            },
        };
    }

    fn push_sub(&mut self, byte: u8) {
        if self.sub.len() < LONGEST {
            self.sub.push(byte);
        } else {
            self.too_long = true;
        }
    }

    /// Answers only what changes something, so that two sides never answer each other for ever (RFC 854).
    fn negotiate(&mut self, command: u8, option: u8, out: &mut Vec<u8>, said: &mut Vec<Said>) {
        let (list, agree, refuse) = match command {
            DO | DONT => (&mut self.ours, WILL, WONT),
            _ => (&mut self.theirs, DO, DONT),
        };
        let known = list.contains(&option);
        match command {
            DO | WILL if known => said.push(Said::Agreed(option)),
            DO | WILL if WANTED.contains(&option) => {
                list.push(option);
                out.extend_from_slice(&[IAC, agree, option]);
                said.push(Said::Agreed(option));
            }
            DO | WILL => out.extend_from_slice(&[IAC, refuse, option]),
            _ => {
                if known {
                    list.retain(|other| *other != option);
                    out.extend_from_slice(&[IAC, refuse, option]);
                }
                if command == DONT {
                    said.push(Said::Refused(option));
                }
            }
        }
    }
}

/// Appends data, with [`IAC`] doubled.
pub(super) fn put_data(out: &mut Vec<u8>, data: &[u8]) {
    for byte in data {
        out.push(*byte);
        if *byte == IAC {
            out.push(IAC);
        }
    }
}

/// Appends a subnegotiation of COM-PORT-OPTION.
pub(super) fn put_com_port(out: &mut Vec<u8>, command: u8, value: &[u8]) {
    out.extend_from_slice(&[IAC, SB, COM_PORT]);
    put_data(out, &[command]);
    put_data(out, value);
    out.extend_from_slice(&[IAC, SE]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(telnet: &mut Telnet, bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<Said>) {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        let said = telnet.take(bytes, &mut data, &mut out);
        (data, out, said)
    }

    #[test]
    fn data_and_commands_are_told_apart_however_they_are_cut() {
        let mut bytes = Vec::new();
        put_data(&mut bytes, &[1, IAC, 2]);
        put_com_port(&mut bytes, 1, &[0, 0, IAC, 0x80]);
        put_data(&mut bytes, &[3]);
        let whole = taken(&mut Telnet::default(), &bytes);
        assert_eq!(whole, (vec![1, IAC, 2, 3], vec![], vec![Said::ComPort(1, vec![0, 0, IAC, 0x80])]));
        let (mut data, mut out, mut said) = Default::default();
        let mut telnet = Telnet::default();
        for byte in &bytes {
            telnet.take_byte(*byte, &mut data, &mut out, &mut said);
        }
        assert_eq!((data, out, said), whole);
    }

    #[test]
    fn only_what_changes_something_is_answered() {
        let mut telnet = Telnet::default();
        let mut offered = Vec::new();
        telnet.offer(true, &mut offered);
        assert_eq!(taken(&mut telnet, &[IAC, DO, COM_PORT]), (vec![], vec![], vec![Said::Agreed(COM_PORT)]));
        assert_eq!(taken(&mut telnet, &[IAC, DO, 1]), (vec![], vec![IAC, WONT, 1], vec![]), "no echo");
        let refused = (vec![], vec![IAC, WONT, BINARY], vec![Said::Refused(BINARY)]);
        assert_eq!(taken(&mut telnet, &[IAC, DONT, BINARY]), refused);
        assert_eq!(taken(&mut telnet, &[IAC, DONT, BINARY]), (vec![], vec![], vec![Said::Refused(BINARY)]));
        assert_eq!(taken(&mut telnet, &[IAC, DO, BINARY]).1, [IAC, WILL, BINARY]);
        // It sends no commands of COM-PORT-OPTION itself, as a server does not.
        assert_eq!(taken(&mut telnet, &[IAC, WONT, COM_PORT]), (vec![], vec![], vec![]));
    }

    #[test]
    fn two_sides_come_to_rest() {
        let (mut one, mut other) = (Telnet::default(), Telnet::default());
        let (mut to_other, mut to_one) = (Vec::new(), Vec::new());
        one.offer(true, &mut to_other);
        other.offer(false, &mut to_one);
        for _ in 0..4 {
            let (_, out, _) = taken(&mut one, &std::mem::take(&mut to_one));
            to_other.extend(out);
            let (_, out, _) = taken(&mut other, &std::mem::take(&mut to_other));
            to_one.extend(out);
        }
        assert!(to_one.is_empty() && to_other.is_empty());
    }

    #[test]
    fn an_endless_subnegotiation_is_dropped_and_bounded() {
        let mut telnet = Telnet::default();
        let mut bytes = vec![IAC, SB, COM_PORT, 1];
        bytes.extend(vec![7; 100_000]);
        bytes.extend([IAC, SE, 9]);
        assert_eq!(taken(&mut telnet, &bytes), (vec![9], vec![], vec![]));
        assert!(telnet.sub.len() <= LONGEST);
    }
}
