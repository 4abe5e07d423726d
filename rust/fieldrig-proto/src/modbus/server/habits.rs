//! Habits: named ways in which the emulated server departs from the standard, for saboteurs and for clients that must
//! cope with what is out there.
//!
//! Rules of this file:
//! - Every default is what the standard wants. Setting a habit to the text `"default"` undoes it.
//! - A habit breaks as little as it can: `breaks` names the requirement rows it is for. Rows that need to look at the
//!   same field may see it too.
//! - `sample` is a value that breaks the rows; `needs` are other habits to set before it (a limit that is to be
//!   overstepped has to be there first).

use crate::record::Value;
use crate::time::{Duration, parse_duration};

/// A value of a habit, known at compile time.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Sample {
    /// `true`.
    On,
    /// An integer.
    Int(i64),
    /// A text, also for durations and choices.
    Text(&'static str),
}

impl Sample {
    /// The value to set.
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            Sample::On => Value::Bool(true),
            Sample::Int(int) => Value::Int(int),
            Sample::Text(text) => Value::Text(text.to_owned()),
        }
    }
}

/// What there is to know about a habit.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Habit {
    /// Name for `set_habit`.
    pub name: &'static str,
    /// What it does, one line.
    pub what: &'static str,
    /// What values it takes.
    pub takes: &'static str,
    /// Requirement rows that `sample` breaks; empty for habits that only set the scene.
    pub breaks: &'static [&'static str],
    /// A value that breaks them.
    pub sample: Sample,
    /// Habits to set before.
    pub needs: &'static [(&'static str, Sample)],
}

/// A type of habit values.
trait Knob: Sized {
    const TAKES: &'static str;
    fn read(value: &Value) -> Option<Self>;
}

impl Knob for bool {
    const TAKES: &'static str = "true or false";
    fn read(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(on) => Some(*on),
            _ => None,
        }
    }
}

impl Knob for i64 {
    const TAKES: &'static str = "an integer";
    fn read(value: &Value) -> Option<i64> {
        match value {
            Value::Bool(_) => None,
            other => other.as_i64(),
        }
    }
}

impl Knob for Option<i64> {
    const TAKES: &'static str = "an integer";
    fn read(value: &Value) -> Option<Option<i64>> {
        i64::read(value).map(Some)
    }
}

impl Knob for Option<Duration> {
    const TAKES: &'static str = "a duration such as \"40ms\"";
    fn read(value: &Value) -> Option<Option<Duration>> {
        parse_duration(value.as_str()?).ok().map(Some)
    }
}

impl Knob for Vec<u8> {
    const TAKES: &'static str = "bytes or a text";
    fn read(value: &Value) -> Option<Vec<u8>> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            Value::Text(text) => Some(text.clone().into_bytes()),
            _ => None,
        }
    }
}

impl Knob for String {
    const TAKES: &'static str = "a text";
    fn read(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? } takes $takes:literal) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
        impl Knob for $name {
            const TAKES: &'static str = $takes;
            fn read(value: &Value) -> Option<$name> {
                match value.as_str()? {
                    $($text => Some($name::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

choice!(
    /// Which transaction id answers carry.
    TransactionIds {
        /// That of the request.
        Echo = "echo",
        /// That of the request without its highest bit.
        FifteenBits = "fifteen_bits",
        /// The server's own count.
        Counter = "counter",
    } takes "\"echo\", \"fifteen_bits\" or \"counter\""
);
choice!(
    /// What happens to requests for a unit that the server is not.
    OtherUnits {
        /// Nothing.
        Silent = "silent",
        /// They are answered as if they were for it.
        Answer = "answer",
        /// Exception 0A, gateway path unavailable.
        PathUnavailable = "0A",
        /// Exception 0B, gateway target device failed to respond.
        TargetFailed = "0B",
    } takes "\"silent\", \"answer\", \"0A\" or \"0B\""
);
choice!(
    /// What happens when there are more connections than allowed.
    BeyondMaximum {
        /// The new one is closed.
        Refuse = "refuse",
        /// The one that was idle for longest is closed.
        CloseIdlest = "close_idlest",
        /// All others are closed.
        CloseAll = "close_all",
    } takes "\"refuse\", \"close_idlest\" or \"close_all\""
);
choice!(
    /// After which malformed ADU something happens.
    AfterMalformed {
        /// After none.
        Never = "never",
        /// A protocol id that is not Modbus.
        Protocol = "protocol",
        /// A PDU that is shorter than its function's.
        Truncated = "truncated",
        /// Bytes behind the function's PDU.
        Trailing = "trailing",
        /// A length field that cannot be gone by, or an empty PDU.
        Length = "length",
        /// Any of them.
        Any = "any",
    } takes "\"never\", \"protocol\", \"truncated\", \"trailing\", \"length\" or \"any\""
);

macro_rules! habits {
    ($($name:ident: $type:ty = $default:expr, $what:literal, breaks $breaks:expr, with $sample:expr $(, needs $needs:expr)?;)*) => {
        /// How the server behaves; the defaults are what the standard wants.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Habits {
            $(#[doc = $what] pub $name: $type,)*
        }

        impl Default for Habits {
            fn default() -> Habits {
                Habits { $($name: $default,)* }
            }
        }

        impl Habits {
            /// Sets a habit by name.
            ///
            /// # Errors
            /// An unknown name (the text lists all), a value it does not take.
            pub fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
                let undo = value.as_str() == Some("default");
                match name {
                    $(stringify!($name) => {
                        self.$name = if undo { $default } else {
                            <$type as Knob>::read(value).ok_or_else(|| {
                                format!("habit `{name}` takes {}, not {value}", <$type as Knob>::TAKES)
                            })?
                        };
                    })*
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }
        }

        /// All habits, with the requirement rows they break.
        pub const HABITS: &[Habit] = &[$(Habit {
            name: stringify!($name),
            what: $what,
            takes: <$type as Knob>::TAKES,
            breaks: &$breaks,
            sample: $sample,
            needs: habits!(@needs $($needs)?),
        },)*];
    };
    (@needs) => { &[] };
    (@needs $needs:expr) => { &$needs };
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = HABITS.iter().map(|habit| habit.name).collect();
    format!("there is no habit `{name}`; there are {}", names.join(", "))
}

habits! {
    transaction_ids: TransactionIds = TransactionIds::Echo, "which transaction id answers carry",
        breaks ["MBAP-01"], with Sample::Text("fifteen_bits");
    protocol_id: i64 = 0, "protocol id of answers",
        breaks ["MBAP-02"], with Sample::Int(1);
    length_delta: i64 = 0, "is added to the length field of answers",
        breaks ["MBAP-03"], with Sample::Int(-1);
    answer_unit: Option<i64> = None, "unit id of all answers, whatever was asked",
        breaks ["MBAP-04"], with Sample::Int(1);
    answer_foreign_protocol: bool = false, "answers ADUs whose protocol id is not 0",
        breaks ["MBAP-05"], with Sample::On;
    lose_lone_first_byte: bool = false, "loses a first byte of an ADU that arrives alone",
        breaks ["MBAP-06"], with Sample::On;
    lose_short_first_read: bool = false, "loses the first 2 to 7 bytes of an ADU if nothing more came with them",
        breaks ["MBAP-07"], with Sample::On;
    one_read_is_one_adu: bool = false, "takes each read for one ADU: no rests, no second ADU",
        breaks ["MBAP-06", "MBAP-07", "MBAP-08", "MBAP-16"], with Sample::On;
    answer_only_first_of_segment: bool = false, "answers only the first of several ADUs in one segment",
        breaks ["MBAP-08"], with Sample::On;
    deaf_while_busy: Option<Duration> = None, "takes this long to answer and hears nothing on that connection meanwhile",
        breaks ["MBAP-09"], with Sample::Text("30ms");
    drop_beyond: Option<i64> = None, "drops the ADUs of one segment beyond so many",
        breaks ["MBAP-10"], with Sample::Int(8);
    answers_apart: Option<Duration> = None, "sends the answers to pipelined requests so far apart",
        breaks ["MBAP-11"], with Sample::Text("5ms");
    answer_length_zero: bool = false, "answers an ADU whose length field is 0",
        breaks ["MBAP-12"], with Sample::On;
    answer_empty_pdu: bool = false, "answers an ADU without a PDU (length 1) with exception 01 to function 0",
        breaks ["MBAP-13"], with Sample::On;
    accept_long: bool = false, "takes ADUs with a length above 254 and answers them",
        breaks ["MBAP-14"], with Sample::On;
    wedge_on_huge_length: bool = false, "serves nobody any more after a length above 0x7fff",
        breaks ["MBAP-15"], with Sample::On;
    impatient: Option<Duration> = None, "drops an unfinished ADU when nothing more comes for so long",
        breaks ["MBAP-16"], with Sample::Text("60ms");
    trailing_as_next: bool = false, "takes bytes behind the function's PDU for the beginning of the next ADU",
        breaks ["MBAP-17"], with Sample::On;
    answer_truncated: bool = false, "answers a PDU that is too short as if it were whole",
        breaks ["MBAP-18"], with Sample::On;
    deaf_to_next_connection: AfterMalformed = AfterMalformed::Never,
        "hears nothing on the connection opened next after a malformed ADU of this kind",
        breaks ["MBAP-19"], with Sample::Text("any");
    deaf_after_malformed: AfterMalformed = AfterMalformed::Never,
        "hears nothing more on a connection after a malformed ADU of this kind",
        breaks ["MBAP-20"], with Sample::Text("truncated");
    greeting: Vec<u8> = Vec::new(), "is sent on every new connection",
        breaks ["MBAP-21"], with Sample::Text("ready\r\n");
    max_connections: Option<i64> = None, "serves so many connections at a time",
        breaks ["MBAP-22"], with Sample::Int(1);
    beyond_maximum: BeyondMaximum = BeyondMaximum::Refuse, "what happens when there are more connections than `max_connections`",
        breaks ["MBAP-23"], with Sample::Text("close_all"), needs [("max_connections", Sample::Int(4))];
    close_on_half_close: bool = false, "closes without an answer when the client closes its direction after the request",
        breaks ["MBAP-24"], with Sample::On;
    wedge_after_resets: Option<i64> = None, "serves nobody any more after so many connections were reset inside an ADU",
        breaks ["MBAP-25"], with Sample::Int(50);
    idle_close: Option<Duration> = None, "closes a connection that was idle for so long",
        breaks ["MBAP-26"], with Sample::Text("500ms");
    delay_answer: Option<Duration> = None, "answers so much later",
        breaks ["MBAP-27"], with Sample::Text("40ms");
    access_list: String = String::new(), "serves only clients whose address begins with one of these, separated by commas",
        breaks [], with Sample::Text("127.0.0.1");
    ignore_access_list: bool = false, "serves everybody in spite of `access_list`",
        breaks ["MBAP-28"], with Sample::On, needs [("access_list", Sample::Text("192.0.2."))];
    other_units: OtherUnits = OtherUnits::Silent, "what happens to requests for a unit that the server is not",
        breaks ["MBAP-29"], with Sample::Text("0B");
    ignore_unit_255: bool = false, "does not answer requests to unit 255",
        breaks ["MBAP-30"], with Sample::On;
    unit_zero_is_broadcast: bool = false, "takes unit 0 for a broadcast: does it, but does not answer",
        breaks ["MBAP-31"], with Sample::On;

    inputs_answered_as_holding: bool = false, "answers function 04 with function code 03",
        breaks ["PDU-01"], with Sample::On;
    exception_extra_byte: bool = false, "adds a byte to exception responses",
        breaks ["PDU-02"], with Sample::On;
    exception_without_bit: bool = false, "leaves bit 7 of the function code of exception responses clear",
        breaks ["PDU-02"], with Sample::On;
    little_endian: bool = false, "sends the low byte of a register first",
        breaks ["PDU-03", "FC03-01"], with Sample::On;
    max_bits: i64 = crate::modbus::pdu::MAX_READ_BITS as i64, "largest quantity of a read of coils or discrete inputs",
        breaks ["PDU-04", "FC01-01", "FC02-01"], with Sample::Int(1999);
    address_zero_missing: bool = false, "has no address 0 in any table when it is asked for alone",
        breaks ["PDU-05"], with Sample::On;
    address_offset: i64 = 0, "is added to every address: off by one",
        breaks ["PDU-05", "PDU-06"], with Sample::Int(1);
    end_off_by_one: bool = false, "allows a read to go one item past the end of a table",
        breaks ["PDU-06"], with Sample::On;
    wrap_addresses: bool = false, "goes on at address 0 after 0xFFFF",
        breaks ["PDU-07"], with Sample::On;
    judge_address_first: bool = false, "judges the address before the quantity",
        breaks ["PDU-08"], with Sample::On;
    judge_data_first: bool = false, "judges the data of unsupported functions before the function",
        breaks ["PDU-09"], with Sample::On;
    fail_at: Option<i64> = None, "fails inside when this address is used: exception 04",
        breaks [], with Sample::Int(7);
    failure_code: i64 = 4, "exception code of an internal failure",
        breaks ["PDU-10"], with Sample::Int(2), needs [("fail_at", Sample::Int(7))];

    max_registers: i64 = crate::modbus::pdu::MAX_READ_REGISTERS as i64, "largest quantity of a read of registers",
        breaks ["FC03-01", "PDU-04"], with Sample::Int(124);
    byte_count_delta: i64 = 0, "is added to the byte count of answers to function 03",
        breaks ["FC03-01"], with Sample::Int(1);
    accept_quantity_zero: bool = false, "answers a read of nothing with nothing",
        breaks ["FC03-02", "FC01-03", "FC02-03", "FC04-02"], with Sample::On;
    byte_count_overflow: bool = false, "takes any quantity of registers and lets the byte count overflow",
        breaks ["FC03-03", "FC04-03"], with Sample::On;
    invent_missing: bool = false, "answers a read that begins at an address that is not there with zeros",
        breaks ["FC03-04", "FC01-05", "FC02-05", "FC04-04"], with Sample::On;
    tear: bool = false, "gives every second register of a read the value it had at the read before",
        breaks ["FC03-05"], with Sample::On;

    padding_bits: bool = false, "sets the unused bits of the last byte of coils and discrete inputs",
        breaks ["FC01-02", "FC02-02"], with Sample::On;
    unknown_function_silent: bool = false, "does not answer functions it does not know",
        breaks ["EXC-01", "EXC-02", "PDU-09"], with Sample::On;
    write_nothing: bool = false, "answers writes but does not do them",
        breaks ["FC05-01", "FC06-01", "FC15-01", "FC16-01", "FC22-01", "FC23-01"], with Sample::On;
    write_before_check: bool = false, "writes as much of a range as there is before it refuses it",
        breaks ["EXC-09", "FC15-05", "FC16-06"], with Sample::On;
    read_before_write: bool = false, "function 23 reads before it writes",
        breaks ["FC23-01"], with Sample::On;
    wrong_crc: bool = false, "sends RTU frames with a wrong CRC",
        breaks ["RTU-01"], with Sample::On;
    ignore_crc: bool = false, "answers RTU frames whatever their CRC",
        breaks ["RTU-02", "RTU-03"], with Sample::On;
    no_answer: bool = false, "hears requests, does what they say and answers none",
        breaks [], with Sample::On;
    answer_broadcast: bool = false, "answers RTU broadcasts",
        breaks ["RTU-05", "RTU-06"], with Sample::On;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_taken_changes_something_and_can_be_undone() {
        for habit in HABITS {
            let mut habits = Habits::default();
            habits.set(habit.name, &habit.sample.value()).expect("a sample is a value it takes");
            assert_ne!(habits, Habits::default(), "{}", habit.name);
            habits.set(habit.name, &Value::from("default")).expect("every habit can be undone");
            assert_eq!(habits, Habits::default(), "{}", habit.name);
            assert!(habits.set(habit.name, &Value::List(vec![])).is_err(), "{}", habit.name);
            for (name, sample) in habit.needs {
                habits.set(name, &sample.value()).expect("what a habit needs is a habit");
            }
        }
    }

    #[test]
    fn a_wrong_name_or_value_is_told_with_what_there_is() {
        let mut habits = Habits::default();
        let error = habits.set("length_deltta", &Value::Int(1)).expect_err("unknown");
        assert!(error.starts_with("there is no habit `length_deltta`; there are transaction_ids, protocol_id"));
        let error = habits.set("delay_answer", &Value::Int(40)).expect_err("a bare number");
        assert_eq!(error, "habit `delay_answer` takes a duration such as \"40ms\", not 40");
    }

    #[test]
    fn every_row_that_a_suite_can_test_has_a_habit_that_breaks_it() {
        let rows = (1..=31)
            .map(|row| format!("MBAP-{row:02}"))
            .chain((1..=10).map(|row| format!("PDU-{row:02}")))
            .chain((1..=5).map(|row| format!("FC03-{row:02}")));
        for row in rows {
            assert!(HABITS.iter().any(|habit| habit.breaks.contains(&row.as_str())), "no habit breaks {row}");
        }
    }
}
