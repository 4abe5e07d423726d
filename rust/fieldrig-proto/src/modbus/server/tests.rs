//! The server, byte by byte: what it does by default, and what each habit makes of it.

mod ascii;
mod bench;
mod defaults;
mod diagnostics;
mod functions;
mod habits;
mod handler;
mod points;
mod serial;
