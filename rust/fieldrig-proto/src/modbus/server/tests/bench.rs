//! A server with the other end of its connections in the hands of the test.

use crate::device::{Access, Face, PointDefinition, PointKind, PointStore};
use crate::endpoint::{Action, Conn, How, Input, Peer, Stamps, Why};
use crate::modbus::map::{Encoding, Mapping, PointType};
use crate::modbus::server::{Bank, ServerConfig, ServerFace, Table, Transport};
use crate::modbus::{rtu, tcp};
use crate::record::Value;
use crate::time::{Duration, Stamp, Time};
use std::collections::BTreeMap;

/// What the server did, with the instant (ms).
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Did {
    Sent(u64, Conn, Vec<u8>),
    Closed(u64, Conn, How),
}

pub(super) struct Bench {
    pub(super) face: ServerFace,
    pub(super) store: PointStore,
    pub(super) now: Time,
    pub(super) did: Vec<Did>,
    next: u32,
    received: BTreeMap<Conn, Vec<u8>>,
}

/// Registers 0 to 199 hold their address times 3, coils are set where the address is divisible by 3; the tables end at
/// 200, and one more holding register stands at 0xFFFF. Point `energy` is a u32 in holding 300 and 301.
pub(super) fn bank() -> Bank {
    let mut bank = Bank::default();
    let registers: Vec<u16> = (0..200).map(|address| address * 3).collect();
    let bits: Vec<u16> = (0..2200).map(|address| u16::from(address % 3 == 0)).collect();
    for (_, table) in Table::NAMES {
        let values = if table.is_bits() { bits.clone() } else { registers.clone() };
        bank.add_raw(table, 0, values).expect("room");
    }
    bank.add_raw(Table::HoldingRegisters, 0xffff, vec![0xabcd]).expect("room");
    bank.map(mapping("energy", Table::HoldingRegisters, 300, PointType::U32)).expect("room");
    bank.map(mapping("limit", Table::HoldingRegisters, 302, PointType::I16)).expect("room");
    bank.map(mapping("serial", Table::HoldingRegisters, 303, PointType::U16)).expect("room");
    bank.map(mapping("relay", Table::Coils, 3000, PointType::Bool)).expect("room");
    bank
}

fn mapping(point: &str, table: Table, address: u16, kind: PointType) -> Mapping {
    Mapping::new(point, table, address, Encoding::plain(kind))
}

pub(super) fn store() -> PointStore {
    let point = |name: &str, kind, initial: Value, range, access| PointDefinition {
        name: name.to_owned(),
        kind,
        unit: String::new(),
        initial,
        range,
        access,
    };
    PointStore::new(vec![
        point("energy", PointKind::Int, Value::Int(0x0001_0002), None, Access::ReadWrite),
        point("limit", PointKind::Int, Value::Int(50), Some((-10.0, 100.0)), Access::ReadWrite),
        point("serial", PointKind::Int, Value::Int(4711), None, Access::Read),
        point("relay", PointKind::Bool, Value::Bool(false), None, Access::ReadWrite),
    ])
}

impl Bench {
    pub(super) fn new(transport: Transport, unit: Option<u8>) -> Bench {
        Bench::with(ServerConfig::new(transport, unit, bank()))
    }

    pub(super) fn with(config: ServerConfig) -> Bench {
        let mut bench = Bench {
            face: ServerFace::new("modbus", config),
            store: store(),
            now: Time::from_nanos(1_000_000),
            did: Vec::new(),
            next: 0,
            received: BTreeMap::new(),
        };
        bench.face.power(bench.now, true, &bench.store);
        bench
    }

    pub(super) fn tcp() -> Bench {
        Bench::new(Transport::Tcp, None)
    }

    pub(super) fn habit(&mut self, name: &str, value: &Value) {
        self.face.set_habit(name, value).expect("a habit that exists");
    }

    pub(super) fn open(&mut self) -> Conn {
        self.open_from("127.0.0.1:50000", false)
    }

    pub(super) fn open_from(&mut self, address: &str, wire: bool) -> Conn {
        let conn = Conn(self.next);
        self.next += 1;
        let peer = Peer { via: "modbus".into(), address: address.into(), wire, ..Peer::default() };
        self.input(Input::Opened(conn, &peer));
        conn
    }

    fn input(&mut self, input: Input<'_>) {
        self.face.handle(self.now, input, &mut self.store);
        self.collect();
    }

    pub(super) fn send(&mut self, conn: Conn, bytes: &[u8]) {
        self.input(Input::Bytes(conn, bytes, Stamps::One(Stamp::exact(self.now))));
    }

    pub(super) fn closed(&mut self, conn: Conn, why: Why) {
        self.input(Input::Closed(conn, why));
    }

    fn collect(&mut self) {
        let at = self.now.as_nanos() / 1_000_000;
        let mut out = Vec::new();
        while let Some(action) = self.face.poll_action(&mut out) {
            match action {
                Action::Send { conn, range, .. } => {
                    self.received.entry(conn).or_default().extend_from_slice(&out[range.clone()]);
                    self.did.push(Did::Sent(at, conn, out[range].to_vec()));
                }
                Action::Close(conn, how) => self.did.push(Did::Closed(at, conn, how)),
                other => panic!("a server does not ask for {other:?}"),
            }
        }
    }

    /// Lets time pass, stopping wherever the server wants to be called.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.face.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.face.handle_timeout(self.now, &mut self.store);
            self.collect();
            assert!(self.face.poll_timeout().is_none_or(|next| next > self.now), "no progress at {}", self.now);
        }
        self.now = end;
    }

    /// Takes what was received on a connection so far.
    pub(super) fn take(&mut self, conn: Conn) -> Vec<u8> {
        self.received.remove(&conn).unwrap_or_default()
    }

    pub(super) fn is_closed(&self, conn: Conn) -> bool {
        self.did.iter().any(|did| matches!(did, Did::Closed(_, closed, _) if *closed == conn))
    }

    /// Sends a PDU on a TCP connection of its own and gives the PDU of the answer, empty if none comes within a second.
    pub(super) fn ask(&mut self, pdu: &[u8]) -> Vec<u8> {
        let conn = self.open();
        self.send(conn, &adu(1, 1, pdu));
        self.pass(Duration::from_secs(1));
        let answer = self.take(conn);
        self.closed(conn, Why::Reset);
        tcp::View(&answer).pdu().to_vec()
    }
}

pub(super) fn adu(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    tcp::Adu::new(transaction, unit, pdu).encode(&mut out);
    out
}

/// An ADU whose length field says something else.
pub(super) fn lying(transaction: u16, length: u16, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    tcp::Adu { length: Some(length), ..tcp::Adu::new(transaction, 1, pdu) }.encode(&mut out);
    out
}

pub(super) fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rtu::Adu::new(unit, pdu).encode(&mut out);
    out
}

/// Read 1 holding register at `address`.
pub(super) fn read(address: u8) -> [u8; 5] {
    [3, 0, address, 0, 1]
}
