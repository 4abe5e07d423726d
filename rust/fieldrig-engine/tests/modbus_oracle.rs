//! The decoder of tokio-modbus 0.17 as an oracle: what it and ours make of the same bytes.
//!
//! Rules of this file:
//! - Where both read values out of bytes, the values are the same.
//! - Where only one does, the difference is of a class that is listed here, with the clause that says who is right. Each class
//!   is met, so that the lists do not outlive what they excuse.
//! - The cases are the same in each run; `FIELDRIG_ORACLE_SEED=7` gives others, which may miss a class but find another.

#[path = "modbus_oracle/cases.rs"]
mod cases;
#[path = "modbus_oracle/ours.rs"]
mod ours;
#[path = "modbus_oracle/theirs.rs"]
mod theirs;

use cases::{Case, answered, asked, case};
use fieldrig_proto::modbus::pdu::{Request, Response, function as f};
use ours::{cut, framed, pdu, request_of, response_of};
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use theirs::{Heard, Theirs};

/// How the bytes are framed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    Tcp,
    Rtu,
}

/// A difference that is known: who reads values where the other refuses, and what the other says.
struct Class {
    refuses: Side,
    says: &'static str,
    /// Where the standard says who is right, and what.
    #[expect(dead_code, reason = "for whoever reads the list")]
    clause: &'static str,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Side {
    Ours,
    Theirs,
}

const fn ours(says: &'static str, clause: &'static str) -> Class {
    Class { refuses: Side::Ours, says, clause }
}

const fn theirs(says: &'static str, clause: &'static str) -> Class {
    Class { refuses: Side::Theirs, says, clause }
}

const ANSWERS: &[Class] = &[
    ours("items asked for take", "AP 6.1 to 6.4, 6.17: as many items as were asked for. Theirs takes any amount"),
    ours("address at offset 1", "AP 6.5, 6.6, 6.11, 6.12, 6.16: the address is repeated. Theirs compares nothing"),
    ours("value at offset 3", "AP 6.5, 6.6: the value is repeated"),
    ours("quantity at offset 3", "AP 6.11, 6.12: the quantity is repeated"),
    ours("AND mask at offset 3", "AP 6.16: the masks are repeated"),
    ours("OR mask at offset 5", "AP 6.16: the masks are repeated"),
    ours("code at offset 2", "AP 6.21: the code is repeated"),
    ours("object at offset 7", "AP 6.21: with code 4 the object that was asked for"),
    ours("the number of objects", "AP 6.21: with code 4 one object"),
    ours("more follows at offset 4", "AP 6.21: 00 or FF, and 00 for one object. Theirs takes everything but FF for 00"),
    ours("the next object", "AP 6.21: it follows those that came, or asking on never ends"),
    ours("bytes follow the end of function", "AP 7: an exception has two bytes. Theirs does not look behind them"),
    ours(
        "does not begin like the answer",
        "SL 2.5.1.1: frames are apart by silence. Theirs drops bytes until a CRC fits",
    ),
    theirs("invalid run indication status", "AP 6.13: what a device says of itself is its own matter; ours keeps it"),
    theirs("too short", "AP 6.13: as above, even nothing"),
    theirs("Invalid conformity level", "AP 6.21: ours keeps what the device says; the suite judges it"),
    theirs(
        "bytes remaining on stream",
        "SL 2.5.1.1: the end of a frame is silence. Theirs waits for a length it expects",
    ),
    theirs(
        "mismatching function codes",
        "AP 7: an exception has the function of its request. Theirs forgets that it is raw",
    ),
    theirs("mismatching headers", "MG 4.4.1.3: the answer to another request is passed over. Theirs gives up"),
];

const REQUESTS: &[Class] = &[
    ours("a quantity of", "AP 6.11: as many bytes as the coils take, else exception 03. Theirs drops surplus ones"),
    ours(
        "bytes follow the end of function",
        "AP 6.7, 6.9, 6.10, 6.18: nothing follows. Theirs does not know the function",
    ),
    ours("bytes follow", "AP 6.14, 6.15: the byte count is right. Theirs does not know the function"),
    ours("needs", "AP 6.8, 6.14, 6.15, 6.18: as above"),
    ours("half a register stands at", "AP 6.8: as above"),
    ours("the byte count at offset 1", "AP 6.14, 6.15: as above"),
    ours("the record length at offset", "AP 6.15: as above"),
    ours("reference type at offset", "AP 6.14, 6.15: it is 6. As above"),
    ours("length is", "AP 4.1: a PDU has 253 bytes at most. Theirs takes any length for functions it does not know"),
    ours("the frame has", "SL 2.3: a frame has 256 bytes at most. Theirs finds one in it, or takes a longer one"),
    ours("CRC at offset", "SL 2.5.1.1: frames are apart by silence. Theirs drops bytes until a CRC fits"),
    theirs("Invalid Read device ID code", "AP 6.21: exception 03, which only who has read the request can send"),
    theirs("unsupported MEI type", "AP 6.19: there are others; what is not there gets exception 01"),
    theirs(
        "invalid function code",
        "AP 7: what is no function gets exception 01, or nothing; ours keeps what was asked",
    ),
    theirs("Too many retries", "SL 2.5.1.1: a frame ends by silence, whatever its function. Theirs must know it"),
    theirs("bytes remaining on stream", "as above"),
];

#[test]
fn tokio_modbus_and_we_ask_alike_and_understand_the_same_answers() {
    let (oracle, seen) = (Theirs::new(), Seen::new(ANSWERS));
    run(&seen, |case| {
        let (reply, asked) = (answered(case), request_of(&case.request));
        let spoken = reply.clone();
        let (their_bytes, their) = oracle.ask(case.framing, case.unit, case.request.clone(), move |_| spoken);
        let (our_bytes, our) = ours::ask(case.framing, case.unit, asked.clone(), |_| reply.clone());
        prop_assert_eq!(&our_bytes, &their_bytes, "what was asked");
        let (unit, bytes) = cut(case.framing, &their_bytes).map_err(TestCaseError::fail)?;
        prop_assert_eq!(unit, case.unit);
        if !matches!(asked, Request::Raw { .. }) {
            prop_assert_eq!(Request::parse(&bytes), Ok(asked.clone()), "what was read");
        }
        use {ours::Outcome as Our, theirs::Outcome as Their};
        let alike = match (&our, &their) {
            (Our::Answer(ours), Their::Answer(theirs)) => {
                same_response(ours, &response_of(&asked, theirs)) || ends_in_zeros(case, ours, &reply)
            }
            (Our::Exception(ours), Their::Exception(theirs)) => ours == theirs,
            (Our::Refused(_), Their::Refused(_) | Their::Panicked) => true,
            (Our::Refused(reason), _) => seen.is(Side::Ours, reason),
            (_, Their::Refused(reason)) => seen.is(Side::Theirs, reason),
            _ => false,
        };
        prop_assert!(alike, "{asked:?} got {reply:02x?}: ours {our:?}, theirs {their:?}");
        Ok(())
    });
}

#[test]
fn tokio_modbus_and_we_hear_the_same_requests() {
    let (oracle, seen) = (Theirs::new(), Seen::new(REQUESTS));
    run(&seen, |case| {
        let frame = asked(case);
        let heard = oracle.hear(case.framing, &frame);
        let our = cut(case.framing, &frame)
            .and_then(|(unit, pdu)| Ok((unit, Request::parse(&pdu).map_err(|error| error.to_string())?)));
        let alike = match (&our, &heard) {
            (Ok((unit, ours)), Heard { requests, .. }) if !requests.is_empty() => {
                let same = requests[0].slave == *unit && same_request(ours, &request_of(&requests[0].request));
                same || case.framing == Framing::Rtu && inside(&frame, &heard)
            }
            (Err(reason), Heard { requests, .. }) if !requests.is_empty() => {
                (case.framing == Framing::Tcp || inside(&frame, &heard)) && seen.is(Side::Ours, reason)
            }
            (Ok((_, ours)), Heard { error: Some(error), .. }) => {
                (case.framing == Framing::Tcp || !has_length(ours) || error.contains("device ID code"))
                    && seen.is(Side::Theirs, error)
            }
            (Err(_), Heard { error: Some(_), .. }) => true,
            (Err(_), _) => frame.is_empty() || panics(case.framing, &frame),
            (Ok(_), _) => false,
        };
        prop_assert!(alike, "{frame:02x?}: ours {our:?}, theirs {heard:?}");
        Ok(())
    });
}

/// A CRC fits behind any frame that is followed by zeros, too. By SL 2.5.1.1 silence tells which it is, and theirs takes all
/// there is for functions it does not know; ours goes by the length that is usual where silence cannot be seen.
fn ends_in_zeros(case: &Case, ours: &Response, reply: &[u8]) -> bool {
    let frame = framed(Framing::Rtu, case.unit, &pdu(|out| ours.encode(out)));
    let rest = reply.strip_prefix(&frame[..]);
    case.framing == Framing::Rtu && rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

/// Theirs found a frame inside what is none: it drops bytes until a CRC fits, and looks at nothing behind it. Of coils it
/// keeps no more than the quantity says, so that only the beginning can be found again.
fn inside(frame: &[u8], heard: &Heard) -> bool {
    heard.requests.iter().all(|theirs| {
        let request = request_of(&theirs.request);
        let whole = framed(Framing::Rtu, theirs.slave, &pdu(|out| request.encode(out)));
        let wanted = if matches!(request, Request::WriteMultipleCoils { .. }) { &whole[..6] } else { &whole };
        whole.len() < frame.len() && frame.windows(wanted.len()).any(|window| window == wanted)
    })
}

/// Theirs knows how long a frame of this is.
fn has_length(request: &Request) -> bool {
    !matches!(
        request,
        Request::Raw { .. }
            | Request::Encapsulated { .. }
            | Request::Diagnostics { .. }
            | Request::ReadFileRecord { .. }
            | Request::WriteFileRecord { .. }
    )
}

/// Bytes that are known to make theirs panic, on a line wherever it looks for a frame.
fn panics(framing: Framing, frame: &[u8]) -> bool {
    let begins = match framing {
        Framing::Tcp => 7..8,
        Framing::Rtu => 1..frame.len(),
    };
    begins.into_iter().any(|begin| frame.get(begin..).is_some_and(too_many))
}

/// More coils than there are bits behind the byte count, or (in debug builds) a quantity of registers that does not fit in
/// 16 bits once doubled.
fn too_many(pdu: &[u8]) -> bool {
    let word = |at: usize| pdu.get(at..at + 2).map_or(0, |pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
    match pdu.first() {
        Some(&f::WRITE_MULTIPLE_COILS) => pdu.get(5).is_some_and(|count| usize::from(*count) * 8 < word(3)),
        Some(&f::WRITE_MULTIPLE_REGISTERS) => word(3) > 0x7fff,
        Some(&f::READ_WRITE_MULTIPLE_REGISTERS) => word(7) > 0x7fff,
        _ => false,
    }
}

/// What theirs does not know it keeps as it is.
fn same_request(ours: &Request, theirs: &Request) -> bool {
    let raw = matches!(theirs, Request::Raw { .. });
    ours == theirs || raw && pdu(|out| ours.encode(out)) == pdu(|out| theirs.encode(out))
}

fn same_response(ours: &Response, theirs: &Response) -> bool {
    let raw = matches!(theirs, Response::Raw { .. });
    ours == theirs || raw && pdu(|out| ours.encode(out)) == pdu(|out| theirs.encode(out))
}

/// Which classes were met.
struct Seen {
    classes: &'static [Class],
    met: RefCell<BTreeSet<usize>>,
}

impl Seen {
    fn new(classes: &'static [Class]) -> Seen {
        Seen { classes, met: RefCell::default() }
    }

    /// The difference is of a class that is listed.
    fn is(&self, refuses: Side, reason: &str) -> bool {
        let found = self.classes.iter().position(|class| class.refuses == refuses && reason.contains(class.says));
        self.met.borrow_mut().extend(found);
        found.is_some()
    }
}

const CASES: u32 = 6000;

fn run(seen: &Seen, test: impl Fn(&Case) -> Result<(), TestCaseError>) {
    let seed: Option<u8> = std::env::var("FIELDRIG_ORACLE_SEED").ok().map(|seed| seed.parse().expect("0 to 255"));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.unwrap_or(1); 32]);
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let outcome = TestRunner::new_with_rng(config, rng).run(&case(), |case| test(&case));
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let met = seen.met.borrow();
    let missed = |(index, class): (usize, &Class)| (!met.contains(&index)).then_some(class.says);
    let missed: Vec<&str> = seen.classes.iter().enumerate().filter_map(missed).collect();
    assert!(seed.is_some() || missed.is_empty(), "no case met these classes: {missed:?}");
}
