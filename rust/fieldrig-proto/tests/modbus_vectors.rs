//! Golden messages of other implementations and of the standard: `fixtures/modbus`, one file for each producer.

use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus::pdu::{Request, Response};
use fieldrig_proto::modbus::{RTU, TCP, rtu, tcp};
use std::path::{Path, PathBuf};

#[derive(Clone, PartialEq, Debug)]
struct Message {
    is_tcp: bool,
    sender: Sender,
    bytes: Vec<u8>,
}

impl Message {
    fn pdu(&self) -> &[u8] {
        if self.is_tcp { tcp::View(&self.bytes).pdu() } else { rtu::View(&self.bytes).pdu() }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/modbus")
}

fn read(path: &Path) -> Vec<Message> {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let messages = lines.map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [framing, sender, hex] = fields[..] else { panic!("framing, sender and bytes, not `{line}`") };
        let digits = hex.as_bytes().chunks(2);
        let bytes = digits.map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex digits");
            u8::from_str_radix(pair, 16).expect("hex digits")
        });
        let sender = if sender == "client" { Sender::Client } else { Sender::Server };
        Message { is_tcp: framing == "tcp", sender, bytes: bytes.collect() }
    });
    messages.collect()
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the folder of golden messages");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    files
}

#[test]
fn every_golden_message_is_understood_and_written_the_same() {
    let mut count = 0;
    for (file, message) in files().iter().flat_map(|file| read(file).into_iter().map(move |message| (file, message))) {
        let protocol = if message.is_tcp { &TCP } else { &RTU };
        let dissection = (protocol.dissect)(&message.bytes, message.sender);
        let place = format!("{}: {}", file.display(), dissection.render(&message.bytes));
        assert!(dissection.fields.iter().all(|field| field.note.is_none()), "{place}");
        assert_eq!((protocol.message_length)(&message.bytes, message.sender), Some(message.bytes.len()), "{place}");
        let mut pdu = Vec::new();
        match message.sender {
            Sender::Client => {
                let request = Request::parse(message.pdu()).expect("a request");
                assert!(!matches!(request, Request::Raw { .. }) && request.check().is_ok(), "{place}");
                request.encode(&mut pdu);
            }
            Sender::Server => {
                let response = Response::parse(message.pdu()).expect("a response");
                assert!(!matches!(response, Response::Raw { .. }), "{place}");
                response.encode(&mut pdu);
            }
        }
        let mut again = Vec::new();
        if message.is_tcp {
            let view = tcp::View(&message.bytes);
            let (transaction, unit) = (view.transaction().expect("a header"), view.unit().expect("a header"));
            tcp::Adu::new(transaction, unit, &pdu).encode(&mut again);
        } else {
            rtu::Adu::new(message.bytes[0], &pdu).encode(&mut again);
        }
        assert_eq!(again, message.bytes, "{place}");
        count += 1;
    }
    assert!(count >= 100, "{count} messages");
}

#[test]
fn every_recorded_answer_answers_its_request() {
    for file in files().iter().filter(|file| !file.ends_with("pymodbus.txt")) {
        for pair in read(file).chunks(2) {
            let [asked, answered] = pair else { panic!("a request without an answer in {}", file.display()) };
            let request = Request::parse(asked.pdu()).expect("a request");
            assert!(Response::answering(&request, answered.pdu()).is_ok(), "{asked:?} {answered:?}");
        }
    }
}
