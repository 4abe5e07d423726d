//! Lines: settings and events of serial lines, and the framing toolkit for consoles and proprietary protocols.

pub mod ansi;
mod console;
pub mod defined;
pub mod delimiter;
pub mod framing;
mod keys;
mod pattern;
pub mod program;
mod search;
mod searches;
mod settings;
pub mod silence;
mod spill;
pub mod stream;
pub mod uart;

pub use console::CONSOLE;
pub use keys::LINE_KEYS;
pub use settings::{LineSettings, Parity, SettingsError, StopBits};

use crate::time::Duration;

/// What can happen on a line besides bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineEvent {
    /// The other side held the line low for longer than a character.
    Break,
    /// A byte with wrong parity was received.
    Parity,
    /// A byte without a stop bit was received.
    Framing,
    /// Bytes were lost because nobody read in time.
    Overrun,
    /// The modem lines now stand like this.
    Modem {
        /// Clear to send.
        cts: bool,
        /// Data set ready.
        dsr: bool,
        /// Ring indicator.
        ri: bool,
        /// Carrier detect.
        dcd: bool,
    },
    /// The other side set its port to these settings (seen through a pty or RFC 2217).
    Settings(LineSettings),
}

/// What can be done to a line besides sending bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineCommand {
    /// Hold the line low for this long.
    Break(Duration),
    /// Drive request-to-send.
    Rts(bool),
    /// Drive data-terminal-ready.
    Dtr(bool),
    /// Change speed and character format.
    Settings(LineSettings),
}
