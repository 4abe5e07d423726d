//! The keys of a rule: what the reader knows, what the JSON Schema says, and what errors list.

use crate::protocol::BenchKey;

const fn key(name: &'static str, what: &'static str) -> BenchKey {
    BenchKey { name, what, required: false }
}

/// The keys of a rule.
pub(in crate::modbus::server) const RULE: &[BenchKey] = &[
    key("name", "by which it is switched and logged; `rule 1`, `rule 2` and so on by default"),
    key("on", "whether it is switched on from the start, true by default"),
    key("when", "for which requests: a table; without it for all"),
    // Schedule
    key(
        "after",
        "leaves alone the first so many matching requests (a number), or all that come so soon after the first of them (a duration)",
    ),
    key("every", "then every so many-th matching request, 1 by default"),
    key("count", "at most so many times"),
    key("p", "with this probability, 0 to 1"),
    key("from", "not before this time since the device runs"),
    key("until", "not from this time on since the device runs"),
    key("seed", "of its probability and noise; by default made of the seed of the face and its name"),
    // Values
    key(
        "value",
        "what the point or address of `when` holds from then on: a value, a list for successive addresses, or a source such as { ramp = [0, 100], over = \"10s\" }",
    ),
    key("type", "with `value` for raw registers: the type, as in the map, u16 by default"),
    key("words", "with `type`: \"big\" (default) or \"little\""),
    key("registers", "with `type`: how many it takes, where the type does not say"),
    // What is answered
    key("exception", "this exception code, a number or a name such as \"busy\"; nothing is done"),
    key(
        "busy",
        "exception 06 (or `code`) so many times, then one answer, and again: a number or { times = 3, code = 5 }",
    ),
    key("answer", "this PDU instead, bytes or hexadecimal digits; the request is done"),
    key("drop", "no answer: \"answer\" (true): the request is done; \"request\": nothing is done"),
    // Size
    key("short", "less at the end: a number of bytes, or \"2 registers\", which the byte count knows of"),
    key("long", "more at the end (zeros): a number of bytes, or \"2 registers\", which the byte count knows of"),
    // Fields: a number sets, \"+1\" and \"-1\" add
    key("function", "function code of the answer: a number, or a difference such as \"+1\""),
    key("byte_count", "byte count of the answer, where it has one: a number or a difference"),
    key("unit", "unit id of the answer: a number or a difference"),
    key("transaction", "transaction id of the answer (TCP, UDP, TLS): a number or a difference"),
    key("protocol", "protocol id of the answer (TCP, UDP, TLS): a number or a difference"),
    key("length", "length field of the answer (TCP, UDP, TLS): a number or a difference"),
    key("checksum", "CRC or LRC of the answer (RTU, ASCII): true for a wrong one, a number or a difference"),
    // Time and shape
    key("delay", "so much later, and what follows on the connection waits: a duration, or two for anything between"),
    key(
        "late",
        "so much later, while others go ahead: a duration, or \"next\": just before the next request is answered",
    ),
    key("pieces", "in pieces of so many bytes, the rest in the last"),
    key("gap", "with `pieces`: silence between them"),
    key("pace", "byte by byte, with so much silence between"),
    key("duplicate", "so many more times (true: once)"),
    // End
    key(
        "close",
        "closes the connection: \"before\" (nothing is done), \"instead\" of the answer, in the \"middle\" of it or after so many bytes, \"after\" it",
    ),
    key("reset", "resets the connection, as `close`"),
    key(
        "power_loss",
        "goes off for a time and boots again: a duration, or { off = \"2s\", at = \"middle\" }, with the words of `close`",
    ),
];

/// The keys of `when`.
pub(in crate::modbus::server) const WHEN: &[BenchKey] = &[
    key("function", "function code: a number, \"1-4\", or a list of these"),
    key("unit", "unit id of the request, likewise"),
    key("table", "\"coils\", \"discrete\", \"holding\" or \"input\""),
    key("address", "one of the addresses that the request touches, likewise"),
    key("point", "a point of the map, instead of `table` and `address`"),
    key("quantity", "how many it reads or writes there, likewise"),
    key("access", "\"read\" or \"write\""),
    key("connection", "the number of its connection since power-on, from 1, likewise"),
];

/// The keys of a source of values.
pub(in crate::modbus::server) const GENERATOR: &[BenchKey] = &[
    key("ramp", "[from, to] in a straight line; takes `over`, `repeat`"),
    key("sine", "[mean, amplitude]; takes `period`, `phase`"),
    key("noise", "[low, high], anything between; takes `every`"),
    key("gaussian", "[mean, deviation]; takes `every`"),
    key("steps", "a list of values, one after the other; takes `every`, `repeat`"),
    key("series", "rows of time and value, or a CSV file with these; takes `interpolate`, `repeat`"),
    key("over", "how long the ramp takes"),
    key("period", "of the sine"),
    key("phase", "of the sine, in turns: 0.25 begins at the top"),
    key("every", "how long a value lasts"),
    key("repeat", "begins anew at the end, instead of holding the last value"),
    key("interpolate", "straight lines between the rows"),
];

/// The keys of `busy` and of `power_loss` as tables.
pub(in crate::modbus::server) const BUSY: &[BenchKey] =
    &[key("times", "how often before an answer"), key("code", "which exception, 06 by default")];
pub(in crate::modbus::server) const POWER_LOSS: &[BenchKey] =
    &[key("off", "how long"), key("at", "when, with the words of `close`; \"before\" by default")];
