//! Arbitrary bytes through everything that reads bytes. Nothing here may panic or run away.

use fieldrig_proto::device::{Face, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Conn, Endpoint, Input, Peer, Stamps, Why};
use fieldrig_proto::line::{LineSettings, Parity, StopBits};
use fieldrig_proto::modbus::client::{Client, Config, Options, Strictness, Transactions};
use fieldrig_proto::modbus::monitor::{self, Monitor};
use fieldrig_proto::modbus::pdu::{Exception, Request, Response, request_length, response_length};
use fieldrig_proto::modbus::rtu::{Assembler, LineRules, Traffic};
use fieldrig_proto::modbus::server::{Bank, ServerConfig, ServerFace, Table, Transport};
use fieldrig_proto::modbus::{ASCII, RTU, TCP, UDP, ascii, rtu, tcp, url};
use fieldrig_proto::time::{Duration, Stamp, Time};

const LINE: LineSettings = LineSettings { baud: 19_200, data_bits: 8, parity: Parity::Even, stop_bits: StopBits::One };
const CONN: Conn = Conn(0);

/// Gives `bytes` to every codec, framer and dissector, and in pieces to clients and servers. The first byte also chooses
/// how they are cut.
pub(crate) fn torture(bytes: &[u8]) {
    codecs(bytes);
    let piece = 1 + usize::from(bytes.first().copied().unwrap_or_default() % 23);
    for rules in [LineRules::tolerant(&LINE), LineRules::exact(&LINE)] {
        for traffic in [Traffic::Responses, Traffic::Requests { own: Some(1) }] {
            assemble(bytes, piece, Assembler::new(&rules, traffic));
        }
        client(bytes, piece, Config::rtu(rules));
        server(bytes, piece, Transport::Rtu(rules), true);
        listen(bytes, piece, monitor::Config::rtu(rules));
    }
    server(bytes, piece, Transport::Rtu(LineRules::over_tcp()), false);
    client(bytes, piece, Config::tcp());
    client(
        bytes,
        piece,
        Config { transactions: Transactions::Colliding, pace: Duration::from_millis(1), ..Config::tcp() },
    );
    // Arbitrary bytes rarely hold a colon or an end: frames of them are tried, too, plain and with another delimiter.
    let mut framed = bytes.to_vec();
    ascii::Adu::new(1, &bytes[..bytes.len().min(300)]).encode(&mut framed);
    for rules in [ascii::Rules::tolerant(&LINE), ascii::Rules { lower_case: true, ..ascii::Rules::exact(&LINE) }] {
        client(&framed, piece, Config::ascii(rules));
        server(&framed, piece, Transport::Ascii(rules), true);
        server(bytes, piece, Transport::Ascii(rules), false);
    }
    datagrams(bytes, piece);
    server(bytes, piece, Transport::Tcp, false);
    listen(bytes, piece, monitor::Config::tcp());
}

/// Pieces as datagrams, to a client and to a server.
fn datagrams(bytes: &[u8], piece: usize) {
    let (mut client, mut out) = (Client::new(Config::tcp()), Vec::new());
    let mut face = ServerFace::new("modbus", ServerConfig::new(Transport::Tcp, Some(1), Bank::default()));
    let (mut store, peer) = (PointStore::default(), Peer::default());
    client.handle(Time::ZERO, Input::Opened(CONN, &peer));
    face.handle(Time::ZERO, Input::Opened(CONN, &peer), &mut store);
    let read = Request::ReadHoldingRegisters { address: 0, quantity: 2 };
    let _ = client.request(Time::ZERO, 1, read, Duration::from_millis(20));
    each_piece(bytes, piece, |now, piece| {
        let stamps = Stamps::One(Stamp::exact(now));
        client.handle(now, Input::Datagram(CONN, &peer, piece, stamps));
        run_client(&mut client, now, &mut out);
        face.handle(now, Input::Datagram(CONN, &peer, piece, stamps), &mut store);
        while face.poll_action(&mut out).is_some() {}
        while face.poll_event().is_some() {}
        out.clear();
    });
}

/// A monitor on a wire, and on a stream of which pieces come from either side.
fn listen(bytes: &[u8], piece: usize, config: monitor::Config) {
    let mut monitor = Monitor::new(config);
    let peer = Peer { wire: true, ..Peer::default() };
    monitor.handle(Time::ZERO, Input::Opened(CONN, &peer));
    each_piece(bytes, piece, |now, piece| {
        let stamps = Stamps::One(Stamp::exact(now));
        monitor.handle(now, Input::Bytes(CONN, piece, stamps));
        let sender = if piece[0] & 1 == 0 { Sender::Client } else { Sender::Server };
        monitor.observe(now, 1, sender, piece, stamps);
        monitor.handle_timeout(now);
        assert!(monitor.poll_timeout().is_none_or(|next| next > now));
    });
    monitor.handle_timeout(Time::FAR);
    monitor.ended(Time::FAR, 1);
    monitor.handle(Time::FAR, Input::Closed(CONN, Why::HungUp));
    // Every byte is in an observation, once: those of the wire and those of the stream.
    let seen: usize = std::iter::from_fn(|| monitor.poll_event())
        .filter(|seen| seen.kind != monitor::Kind::Unanswered)
        .map(|seen| seen.describe().len().min(1) * seen.bytes.len())
        .sum();
    match config.medium {
        monitor::Medium::Rtu(_) => assert_eq!(seen, 2 * bytes.len()),
        monitor::Medium::Tcp => assert!(seen <= bytes.len()),
    }
}

fn codecs(bytes: &[u8]) {
    let mut out = Vec::new();
    if let Ok(request) = Request::parse(bytes) {
        request.encode(&mut out);
        let _ = (request.check(), request.check_addresses(), Response::answering(&request, bytes));
    }
    if let Ok(response) = Response::parse(bytes) {
        response.encode(&mut out);
    }
    let _ = (Exception::parse(bytes), request_length(bytes), response_length(bytes));
    let _ = (rtu::View(bytes).problem(), rtu::View(bytes).pdu(), tcp::View(bytes).pdu());
    let view = ascii::View::new(bytes);
    let _ = (view.problem(), view.octets(), tcp::datagram_problem(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = url::parse(text);
        let _ = ["rtu", "ascii+tcp", "tls", "udp", "pty"].map(|scheme| url::parse(&format!("{scheme}://{text}")));
    }
    for protocol in [&TCP, &RTU, &ASCII, &UDP] {
        for sender in [Sender::Client, Sender::Server] {
            let _ = (protocol.dissect)(bytes, sender).render(bytes);
            let length = (protocol.message_length)(bytes, sender);
            debug_assert!(length.is_none_or(|length| length <= bytes.len()));
        }
    }
}

fn assemble(bytes: &[u8], piece: usize, mut assembler: Assembler) {
    each_piece(bytes, piece, |now, piece| {
        assembler.push(piece, Stamps::One(Stamp::exact(now)));
        assembler.expire(now);
        while assembler.pop().is_some() {}
    });
    assembler.expire(Time::FAR);
    while assembler.pop().is_some() {}
}

/// Pieces some time apart: sometimes within t1.5, sometimes beyond t3.5.
fn each_piece(bytes: &[u8], piece: usize, mut give: impl FnMut(Time, &[u8])) {
    let mut now = Time::from_nanos(1);
    for (index, piece) in bytes.chunks(piece).enumerate() {
        give(now, piece);
        now = now + Duration::from_micros(if index % 3 == 2 { 5_000 } else { 500 });
    }
}

fn client(bytes: &[u8], piece: usize, config: Config) {
    let mut client = Client::new(config);
    let mut out = Vec::new();
    client.handle(Time::ZERO, Input::Opened(CONN, &Peer::default()));
    for request in [
        Request::ReadHoldingRegisters { address: 0, quantity: 2 },
        Request::raw(&bytes[..bytes.len().min(200)]),
        Request::WriteSingleCoil { address: 0, on: true },
    ] {
        // A request that is refused is one more path, not a failure.
        let _ = client.request(Time::ZERO, 1, request, Duration::from_millis(20));
    }
    for strictness in [Strictness::Lenient, Strictness::Raw] {
        let split = vec![(piece, Duration::from_millis(1)), (bytes.len(), Duration::ZERO)];
        let options = Options { strictness, retries: 2, retry_writes: true, ..Options::default() };
        let read = Request::ReadCoils { address: 0, quantity: 9 };
        let _ = client.ask(Time::ZERO, 0, read, Duration::from_millis(20), Some(Box::new(options.clone())));
        let _ = client.raw_frame(Time::ZERO, bytes, Duration::from_millis(20), Options { split, ..options });
    }
    each_piece(bytes, piece, |now, piece| {
        client.handle(now, Input::Bytes(CONN, piece, Stamps::One(Stamp::exact(now))));
        run_client(&mut client, now, &mut out);
    });
    client.handle(Time::FAR, Input::Closed(CONN, Why::Reset));
    run_client(&mut client, Time::FAR, &mut out);
}

fn run_client(client: &mut Client, now: Time, out: &mut Vec<u8>) {
    if client.poll_timeout().is_some_and(|due| due <= now) {
        client.handle_timeout(now);
    }
    while client.poll_action(out).is_some() {}
    while client.poll_event().is_some() {}
    out.clear();
}

fn server(bytes: &[u8], piece: usize, transport: Transport, wire: bool) {
    let mut bank = Bank::default();
    for (_, table) in Table::NAMES {
        // A new bank has room.
        let _ = bank.add_raw(table, 0, vec![1; 300]);
    }
    let mut face = ServerFace::new("modbus", ServerConfig::new(transport, Some(1), bank));
    let mut store = PointStore::default();
    let mut out = Vec::new();
    let peer = Peer { wire, ..Peer::default() };
    face.power(Time::ZERO, true, &store);
    face.handle(Time::ZERO, Input::Opened(CONN, &peer), &mut store);
    each_piece(bytes, piece, |now, piece| {
        face.handle(now, Input::Bytes(CONN, piece, Stamps::One(Stamp::exact(now))), &mut store);
        if face.poll_timeout().is_some_and(|due| due <= now) {
            face.handle_timeout(now, &mut store);
        }
        while face.poll_action(&mut out).is_some() {}
        while face.poll_event().is_some() {}
        out.clear();
    });
    face.handle(Time::FAR, Input::Closed(CONN, Why::Finished), &mut store);
    while face.poll_action(&mut out).is_some() {}
}
