//! Protocols that are defined by data: what a description says is what goes over the wire, and what is wrong with a
//! description is told with its key.

use fieldrig_proto::device::{Access, Face, PointDefinition, PointKind, PointStore};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input, Peer, Stamps};
use fieldrig_proto::line::defined::{Ask, Client, DefinedFace, Definition, Failure, Patch, protocol};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::sync::Arc;

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

fn values<const N: usize>(entries: [(&str, Value); N]) -> Vec<(String, Value)> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A pack of cells: start, address, sequence, tag, length, CRC; the answer has scaled numbers, names and flags.
fn pack() -> Value {
    let header = table([
        ("address", "u8".into()),
        ("number", "u8 sequence".into()),
        ("kind", "u8 tag".into()),
        ("size", "u8 length".into()),
    ]);
    let frame = table([
        ("by", "length".into()),
        ("start", "aa 55".into()),
        ("header", header),
        ("checksum", "crc-16/modbus".into()),
    ]);
    let voltage = table([("type", "u16".into()), ("scale", Value::Float(0.01)), ("unit", "V".into())]);
    let state = table([("type", "u8".into()), ("enum", table([("idle", Value::Int(0)), ("charge", Value::Int(1))]))]);
    let flags = table([("type", "u8".into()), ("flags", list(["hot".into(), "low".into()]))]);
    let fields = [("voltage", voltage), ("state", state), ("alarms", flags), ("count", "u8".into())];
    let report = table([
        ("tag", Value::Int(0x81)),
        (
            "fields",
            table([
                fields[0].clone(),
                fields[1].clone(),
                fields[2].clone(),
                fields[3].clone(),
                ("cells", "i16le[count]".into()),
            ]),
        ),
    ]);
    let answer = table([
        ("on", "status".into()),
        ("with", "report".into()),
        ("fields", table([("cells", list([Value::Int(-1), Value::Int(300)])), ("alarms", list(["low".into()]))])),
    ]);
    table([
        ("name", "pack".into()),
        ("frame", frame),
        (
            "message",
            table([("status", table([("tag", Value::Int(1)), ("answer", "report".into())])), ("report", report)]),
        ),
        ("client", table([("timeout", "200ms".into()), ("same", list(["address".into()]))])),
        ("answer", list([answer])),
    ])
}

fn definition() -> Arc<Definition> {
    Arc::new(Definition::read(&pack()).expect("the description is sound"))
}

fn store() -> PointStore {
    let point = |name: &str, kind, initial| PointDefinition {
        name: name.to_owned(),
        kind,
        unit: String::new(),
        initial,
        range: None,
        access: Access::ReadWrite,
    };
    PointStore::new(vec![
        point("voltage", PointKind::Float, Value::Float(48.5)),
        point("state", PointKind::Text, Value::from("charge")),
    ])
}

const CONN: Conn = Conn(1);

/// A client and a device, joined by nothing but a loop, at one instant.
struct Pair {
    client: Client,
    face: DefinedFace,
    store: PointStore,
    now: Time,
    wire: Vec<u8>,
}

impl Pair {
    fn new() -> Pair {
        let (definition, store) = (definition(), store());
        let points = ["voltage".to_owned(), "state".to_owned()];
        let mut face = DefinedFace::new("pack", Arc::clone(&definition), Some(&points)).expect("sound rules");
        let (mut client, now, mut store) = (Client::new(definition), Time::from_nanos(1_000), store);
        face.power(now, true, &store);
        face.handle(now, Input::Opened(CONN, &Peer::default()), &mut store);
        client.handle(now, Input::Opened(CONN, &Peer::default()));
        Pair { client, face, store, now, wire: Vec::new() }
    }

    /// Carries bytes both ways until nothing moves.
    fn run(&mut self) {
        loop {
            let (mut to_device, mut to_client) = (Vec::new(), Vec::new());
            while let Some(Action::Send { .. }) = self.client.poll_action(&mut to_device) {}
            self.wire.extend_from_slice(&to_device);
            let at = Stamp::exact(self.now);
            self.face.handle(self.now, Input::Bytes(CONN, &to_device, Stamps::One(at)), &mut self.store);
            while self.face.poll_action(&mut to_client).is_some() {}
            self.client.handle(self.now, Input::Bytes(CONN, &to_client, Stamps::One(at)));
            if to_device.is_empty() && to_client.is_empty() {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.face.handle_timeout(self.now, &mut self.store);
        self.client.handle_timeout(self.now);
        self.run();
    }

    fn ask(&mut self, address: i64) -> u64 {
        let ask = Ask { name: "status".into(), fields: values([("address", Value::Int(address))]), ..Ask::default() };
        let (token, _) = self.client.ask(self.now, &ask).expect("a sound request");
        self.run();
        token
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.client.come_since(0).map(|(_, come)| come.kind).collect()
    }
}

#[test]
fn a_request_is_answered_from_points_and_rules() {
    let mut pair = Pair::new();
    let token = pair.ask(3);
    // CRC-16/MODBUS of 03 00 01 00, low byte last: the order is big.
    assert_eq!(pair.wire[..6], [0xaa, 0x55, 0x03, 0x00, 0x01, 0x00]);
    let (outcome, _) = pair.client.outcome(token).expect("it is over");
    let come = pair.client.come_at(outcome.expect("an answer")).expect("it is kept");
    let value = |name| come.message.value(name).cloned();
    assert_eq!(come.message.name.as_deref(), Some("report"));
    assert_eq!(value("address"), Some(Value::Int(3)));
    assert_eq!(value("voltage"), Some(Value::Float(48.5)));
    assert_eq!(value("state"), Some(Value::from("charge")));
    assert_eq!(value("alarms"), Some(list(["low".into()])));
    assert_eq!(value("cells"), Some(list([Value::Int(-1), Value::Int(300)])));
    assert_eq!(value("size"), Some(Value::Int(9)));
}

#[test]
fn an_answer_after_its_time_is_late_and_never_data() {
    let mut pair = Pair::new();
    pair.face.set_habit("delay", &Value::from("300ms")).expect("a habit");
    let token = pair.ask(3);
    pair.pass(Duration::from_millis(200));
    assert!(matches!(pair.client.outcome(token), Some((Err(Failure::NoAnswer(0)), _))));
    let second = pair.ask(3);
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.kinds(), ["late"]);
    assert_eq!(pair.client.outcome(second), None);
    pair.face.set_habit("delay", &Value::from("default")).expect("a habit");
    pair.pass(Duration::from_millis(200));
    assert!(matches!(pair.client.outcome(second), Some((Err(Failure::NoAnswer(_)), _))));
}

#[test]
fn where_nothing_tells_a_late_answer_from_the_next_one_the_next_request_waits() {
    let mut description = pack();
    let Value::Table(entries) = &mut description else { unreachable!() };
    let Value::Table(frame) = &mut entries[1].1 else { unreachable!() };
    let Value::Table(header) = &mut frame[2].1 else { unreachable!() };
    header[1].1 = "u8 = 0".into();
    let definition = Arc::new(Definition::read(&description).expect("sound"));
    let mut client = Client::new(Arc::clone(&definition));
    let peer = Peer::default();
    client.handle(Time::ZERO, Input::Opened(CONN, &peer));
    let ask = |address: i64| Ask {
        name: "status".into(),
        fields: values([("address", Value::Int(address))]),
        ..Ask::default()
    };
    let sent = |client: &mut Client| client.poll_action(&mut Vec::new()).is_some();
    client.ask(Time::ZERO, &ask(3)).expect("sound");
    assert!(sent(&mut client));
    let over = Time::from_nanos(200_000_000);
    client.handle_timeout(over);
    let (second, _) = client.ask(over, &ask(3)).expect("sound");
    assert!(!sent(&mut client), "the late answer would pass for its own");
    assert_eq!(client.poll_timeout(), Some(Time::from_nanos(400_000_000)));
    let fields = [
        ("address", Value::Int(3)),
        ("voltage", Value::Int(1)),
        ("state", Value::Int(0)),
        ("alarms", list([])),
        ("cells", list([])),
    ];
    let late = definition.encode("report", &values(fields), 0, &Patch::default()).expect("sound");
    client.handle(over, Input::Bytes(CONN, &late.bytes, Stamps::One(Stamp::exact(over))));
    assert_eq!(client.come_since(0).map(|(_, come)| come.kind).collect::<Vec<_>>(), ["late"]);
    assert!(sent(&mut client), "it has come: nothing is in the way any more");
    client.handle(over, Input::Bytes(CONN, &late.bytes, Stamps::One(Stamp::exact(over))));
    assert!(matches!(client.outcome(second), Some((Ok(1), _))));
}

#[test]
fn what_is_wrong_is_an_event_and_answers_nothing() {
    let mut pair = Pair::new();
    pair.face.set_habit("wrong_checksum", &Value::Int(1)).expect("a habit");
    pair.face.set_habit("noise", &Value::Bytes(vec![1, 2])).expect("a habit");
    let token = pair.ask(3);
    assert_eq!(pair.kinds(), ["garbage", "wrong"]);
    let wrong = pair.client.come_at(1).expect("it is kept");
    assert!(wrong.problems[0].to_string().starts_with("checksum at offset 13 is "), "{}", wrong.problems[0]);
    assert_eq!(pair.client.outcome(token), None);
    let token = {
        pair.pass(Duration::from_millis(200));
        pair.ask(3)
    };
    assert!(matches!(pair.client.outcome(token), Some((Ok(_), _))));
}

#[test]
fn every_derived_field_can_be_wrong_on_purpose() {
    let definition = definition();
    let address = values([("address", Value::Int(3))]);
    let frame = |patch: &[(String, Value)]| {
        let patch = Patch::read(&definition, patch).expect("a patch");
        definition.encode("status", &address, 7, &patch).expect("sound").bytes
    };
    let right = frame(&[]);
    let crc = |bytes: &[u8]| fieldrig_proto::checksum::crc16_modbus(bytes).to_be_bytes();
    assert_eq!(right, [&[0xaa, 0x55, 3, 7, 1, 0][..], &crc(&[3, 7, 1, 0])].concat());
    assert_eq!(
        frame(&values([("size", Value::Int(9))])),
        [&[0xaa, 0x55, 3, 7, 1, 9][..], &crc(&[3, 7, 1, 9])].concat()
    );
    assert_eq!(frame(&values([("checksum", Value::Int(1))]))[6..], [0, 1]);
    assert_ne!(frame(&values([("checksum", "wrong".into())]))[6..], right[6..]);
    assert_eq!(frame(&values([("start", Value::Bytes(vec![0xab]))]))[..2], [0xab, 3]);
    assert_eq!(frame(&values([("cut", Value::Int(3))])), right[..5]);
    assert_eq!(frame(&values([("payload", Value::Bytes(vec![5, 6]))]))[4..8], [1, 2, 5, 6]);
    assert_eq!(frame(&values([("number", Value::Int(8)), ("append", Value::Bytes(vec![9]))]))[3], 8);
    let problem = Patch::read(&definition, &values([("chekcsum", Value::Int(1))])).expect_err("no such field");
    assert_eq!(problem.hint.as_deref(), Some("did you mean `checksum`?"));
}

#[test]
fn a_typed_message_cannot_be_wrong() {
    let definition = definition();
    let refused = |fields: &[(String, Value)]| {
        definition.encode("report", fields, 0, &Patch::default()).expect_err("it cannot be sent").to_string()
    };
    let good = values([
        ("address", Value::Int(1)),
        ("voltage", Value::Float(1.0)),
        ("state", "idle".into()),
        ("alarms", list([])),
        ("cells", list([])),
    ]);
    let but = |name: &str, value: Value| {
        let mut fields = good.clone();
        fields.iter_mut().filter(|(known, _)| known == name).for_each(|(_, old)| *old = value.clone());
        refused(&fields)
    };
    assert_eq!(refused(&good[1..]), "`report` needs a value for `address`");
    assert_eq!(but("address", Value::Int(256)), "`address` of `report` takes 0 to 255, not 256");
    assert_eq!(but("voltage", Value::Float(1e6)), "`voltage` of `report` takes 0 to 65535, not 1000000.0");
    assert_eq!(but("state", "idel".into()), "`state` of `report` takes `idle`, `charge` or a number, not \"idel\"");
    assert_eq!(but("alarms", list(["cold".into()])), "`alarms` of `report` has no flag \"cold\"; it has hot, low");
    assert_eq!(but("cells", list([Value::Int(40_000)])), "`cells` of `report` takes -32768 to 32767, not 40000");
    let unknown = definition.decode(&[3, 0, 0x81, 9, 0, 1, 9, 0x84, 0, 0, 0], Some(Sender::Server));
    assert_eq!(unknown.value("state"), Some(&Value::Int(9)), "an unknown number is kept");
    assert_eq!(unknown.value("alarms"), Some(&list(["bit2".into(), "bit7".into()])));
}

#[test]
fn a_frame_is_dissected_field_by_field() {
    let (definition, mut pair) = (definition(), Pair::new());
    pair.ask(3);
    let raw = pair.client.come_at(0).expect("an answer").raw.clone();
    let protocol = protocol(&definition);
    let dissection = (protocol.dissect)(&raw, Sender::Server);
    assert_eq!(dissection.summary, "report voltage=48.5 V state=\"charge\" alarms=[\"low\"] count=2 cells=[-1, 300]");
    assert_eq!(dissection.fields[5].range, 6..8);
    assert_eq!(dissection.fields.last().map(|field| field.name.as_ref()), Some("checksum"));
    assert_eq!((protocol.message_length)(&[&raw[..], &raw[..4]].concat(), Sender::Server), Some(raw.len()));
    assert_eq!((protocol.message_length)(&raw[..7], Sender::Server), None);
    assert!((protocol.dissect)(&[1, 2, 3], Sender::Client).summary.contains("no frame"));
}

#[test]
fn what_is_wrong_with_a_description_is_told_with_its_key() {
    let wrong = |path: &[&str], value: Value| {
        let mut description = pack();
        let (mut at, (last, levels)) = (&mut description, path.split_last().expect("a path"));
        for level in levels {
            let entries = match at {
                Value::Table(entries) => entries,
                _ => panic!("{level} is in no table"),
            };
            at = entries.iter_mut().find(|(key, _)| key == level).map(|(_, value)| value).expect("the level");
        }
        let Value::Table(entries) = at else { panic!("no table") };
        entries.retain(|(key, _)| key != last);
        entries.push(((*last).to_owned(), value));
        let error = Definition::read(&description).expect_err("it is wrong");
        let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}: {}{hint}", error.key, error.problem)
    };
    let told = [
        wrong(&["frame", "checksum"], "crc-16/modbuss".into()),
        wrong(&["frame", "chekcsum"], "crc-16/modbus".into()),
        wrong(&["frame", "header", "more"], "u17".into()),
        wrong(&["frame", "by"], "lenght".into()),
        wrong(&["message", "status", "answer"], "repport".into()),
        wrong(&["message", "status", "tag"], Value::Int(0x81)),
        wrong(&["message", "report", "fields", "address"], "u8".into()),
        wrong(&["client", "same"], list(["adress".into()])),
        wrong(
            &["answer"],
            list([table([
                ("on", "status".into()),
                ("with", "report".into()),
                ("fields", table([("volts", Value::Int(1))])),
            ])]),
        ),
    ];
    let expected = [
        "frame.checksum: unknown checksum `crc-16/modbuss`; did you mean `crc-16/modbus`?",
        "frame.chekcsum: unknown key `chekcsum`; did you mean `checksum`?",
        "frame.header.more: unknown type `u17`; did you mean `u16`?",
        "frame.by: it must be one of \"delimiter\", \"length\", \"fixed\", \"silence\", \"slip\", \"cobs\", \"hdlc\", not \
         \"lenght\"; did you mean `length`?",
        "message.status.answer: there is no message `repport`; did you mean `report`?",
        "message.report: `status` has the same tag; say from = \"client\" in one and from = \"device\" in the other",
        "message.report.fields.address: `address` is the name of two fields of one frame",
        "client.same.0: the header has no field `adress`; did you mean `address`?",
        "answer.0.fields.volts: the message has no field `volts` to be filled; known are `address`, `number`, `voltage`, \
         `state`, `alarms`, `count`, `cells`",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(
            told == expected || told.replace("message.status: `report`", "message.report: `status`") == expected,
            "{told}\n{expected}"
        );
    }
}

/// What is wrong with a checksum behind a message, or in a field of its own.
fn checked(checksum: Option<Value>, field: Option<(&str, Value)>) -> String {
    let mut frame = vec![
        ("by".to_owned(), "delimiter".into()),
        ("end".to_owned(), "0a".into()),
        ("header".to_owned(), table([("kind", "u8 tag".into())])),
    ];
    frame.extend(checksum.map(|sum| ("checksum".to_owned(), sum)));
    frame.extend(field.map(|(kind, sum)| {
        ("trailer".to_owned(), table([("check", table([("type", kind.into()), ("checksum", sum)]))]))
    }));
    let messages = table([("report", table([("tag", Value::Int(1))]))]);
    let described = table([("name", "one".into()), ("frame", Value::Table(frame)), ("message", messages)]);
    match Definition::read(&described) {
        Ok(_) => String::new(),
        Err(error) => format!("{}: {}; {}", error.key, error.problem, error.hint.unwrap_or_default()),
    }
}

#[test]
fn a_field_that_holds_only_a_part_of_its_checksum_is_refused() {
    for (kind, sum, told) in [
        ("u16", "crc-16/modbus", ""),
        ("u32", "crc-16/modbus", ""),
        ("hex[4]", "crc-16/modbus", ""),
        ("bytes[2]", "crc-16/modbus", ""),
        ("dec[3]", "sum8", ""),
        ("u8", "crc-7/mmc", ""),
        (
            "u8",
            "crc-16/modbus",
            "frame.trailer.check: `check` is too small for crc-16/modbus, which has 16 bits; write type = \"u16\", or \
             \"hex[4]\" for digits",
        ),
        (
            "hex[2]",
            "crc-16/modbus",
            "frame.trailer.check: `check` is too small for crc-16/modbus, which has 16 bits; write type = \"u16\", or \
             \"hex[4]\" for digits",
        ),
        (
            "dec[2]",
            "sum8",
            "frame.trailer.check: `check` is too small for sum8, which has 8 bits; write type = \"u8\", or \"hex[2]\" \
             for digits",
        ),
        (
            "f32",
            "crc-32",
            "frame.trailer.check: `check` cannot hold a checksum: that takes an integer, digits or bytes; write type = \
             \"u32\", or \"hex[8]\" for digits",
        ),
    ] {
        assert_eq!(checked(None, Some((kind, sum.into()))), told);
    }
}

#[test]
fn the_parameters_of_a_crc_have_no_more_bits_than_it() {
    let own = |width: i64, name: &str, value: i64| {
        let mut crc = vec![("width".to_owned(), Value::Int(width)), (name.to_owned(), Value::Int(value))];
        if name != "poly" {
            crc.push(("poly".to_owned(), Value::Int(7)));
        }
        checked(Some(Value::Table(crc)), None)
    };
    for (width, name, value, told) in [
        (8, "poly", 0xff, ""),
        (8, "init", 0xff, ""),
        (64, "xorout", i64::MAX, ""),
        (
            16,
            "poly",
            0x1_1021,
            "frame.checksum.poly: 0x11021 has more than the 16 bits of the CRC; write it without its highest bit: 0x1021",
        ),
        (
            8,
            "poly",
            0x1021,
            "frame.checksum.poly: 0x1021 has more than the 8 bits of the CRC; write 0 to 0xff, or another width",
        ),
        (
            8,
            "init",
            0xffff,
            "frame.checksum.init: 0xffff has more than the 8 bits of the CRC; write 0 to 0xff, or another width",
        ),
        (
            12,
            "xorout",
            0x1fff,
            "frame.checksum.xorout: 0x1fff has more than the 12 bits of the CRC; write 0 to 0xfff, or another width",
        ),
        (8, "poly", 0, "frame.checksum.poly: with the polynomial 0 all bytes have the same CRC; "),
    ] {
        assert_eq!(own(width, name, value), told);
    }
}

#[test]
fn an_answer_that_no_message_is_is_refused_before_anything_is_sent() {
    let mut client = Client::new(definition());
    client.handle(Time::from_nanos(1), Input::Opened(CONN, &Peer::default()));
    let fields = values([("address", Value::Int(1))]);
    let ask = Ask { name: "status".into(), fields, answers: Some(vec!["repport".into()]), ..Ask::default() };
    let refused = client.ask(Time::from_nanos(2), &ask).expect_err("no such message");
    assert_eq!(refused.problem, "pack has no message `repport` that could answer");
    assert_eq!(refused.hint.as_deref(), Some("did you mean `report`?"));
    assert_eq!(client.poll_action(&mut Vec::new()), None);
}

#[test]
fn a_point_for_which_nothing_has_a_use_is_told_with_the_nearest_one() {
    let useless = |point: &str| definition().useless_point(&["voltage".to_owned(), point.to_owned()]);
    assert_eq!(useless("state"), None);
    assert_eq!(useless("vlotage"), Some(("vlotage".to_owned(), Some("did you mean `voltage`?".to_owned()))));
}

#[test]
fn a_frame_is_sent_as_it_is_or_not_and_nothing_in_between() {
    let wrong = Patch::read(&definition(), &values([("plain", "yes".into())])).expect_err("no truth value");
    assert_eq!(wrong.problem, "the patch `plain` is True or False, not \"yes\"");
}

#[test]
fn a_rule_that_nothing_fills_is_refused_when_the_device_is_made() {
    let problem = DefinedFace::new("pack", definition(), Some(&["voltage".to_owned()])).err().expect("no state");
    assert_eq!(
        (problem.key.as_str(), problem.problem.as_str()),
        ("answer.0.with", "nothing says what `state` of `report` holds")
    );
}

/// A protocol with these fields in its one message.
fn message(fields: Value) -> Result<Definition, String> {
    let frame =
        table([("by", "delimiter".into()), ("end", "0a".into()), ("header", table([("kind", "u8 tag".into())]))]);
    let message = table([("tag", Value::Int(1)), ("fields", fields)]);
    let described = table([("name", "one".into()), ("frame", frame), ("message", table([("report", message)]))]);
    Definition::read(&described).map_err(|error| format!("{}: {}", error.key, error.problem))
}

#[test]
fn a_scaled_number_is_the_decimal_that_people_expect() {
    let scaled = |scale: f64, offset: f64, raw: [u8; 2]| {
        let field = [("type", "i16".into()), ("scale", Value::Float(scale)), ("offset", Value::Float(offset))];
        let definition = message(table([("t", table(field))])).expect("sound");
        definition.decode(&[1, raw[0], raw[1]], None).value("t").and_then(Value::as_f64)
    };
    assert_eq!(scaled(0.1, 0.0, [0, 234]), Some(23.4));
    assert_eq!(scaled(0.1, -40.0, [1, 145]), Some(0.1));
    assert_eq!(scaled(0.01, 0.0, [0xff, 0xf9]), Some(-0.07));
    assert_eq!(scaled(0.001, 0.3, [0, 3]), Some(0.303));
    assert_eq!(scaled(-0.1, 0.0, [0, 3]), Some(-0.3));
    assert_eq!(scaled(5.0, 2.0, [0, 3]), Some(17.0));
    assert_eq!(scaled(0.3, 0.0, [0, 1]), Some(0.3));
}

#[test]
fn what_is_expected_of_a_field_is_what_its_bytes_say_and_what_never_comes_is_refused() {
    let tenth = table([("type", "i16".into()), ("scale", Value::Float(0.3))]);
    let state = table([("type", "u8".into()), ("enum", table([("idle", Value::Int(0)), ("run", Value::Int(1))]))]);
    let alarms = table([("type", "u8".into()), ("flags", list(["hot".into(), "low".into()]))]);
    let fields =
        table([("t", tenth), ("ratio", "f32".into()), ("state", state), ("alarms", alarms), ("n", "dec[2]".into())]);
    let definition = message(fields).expect("sound");
    let body = [&[1, 0, 3][..], &23.4f32.to_be_bytes(), &[1, 3], b"x1"].concat();
    let came = definition.decode(&body, None);
    let holds = |name: &str, value: Value| {
        definition.expects(Some("report"), name, &value).expect("it may come");
        definition.holds(Some("report"), name, &value, came.value(name).expect("a field"))
    };
    for (name, value) in [
        ("t", Value::Float(0.9)),
        ("ratio", Value::Float(23.4)),
        ("state", "run".into()),
        ("state", Value::Int(1)),
        ("alarms", list(["low".into(), "hot".into()])),
        ("kind", Value::Int(1)),
        ("kind", Value::Float(1.0)),
        ("n", Value::from(&b"x1"[..])),
    ] {
        assert!(holds(name, value.clone()), "{name} {value}");
    }
    for (name, value) in [
        ("t", Value::Float(1.2)),
        ("ratio", Value::Float(23.5)),
        ("state", "idle".into()),
        ("alarms", list(["low".into()])),
        ("n", Value::Int(1)),
    ] {
        assert!(!holds(name, value.clone()), "{name} {value}");
    }
    for (name, value, problem) in [
        ("stat", "run".into(), "`report` has no field `stat`"),
        ("state", "rum".into(), "`state` takes `idle`, `run` or a number, not \"rum\""),
        ("state", Value::Int(256), "`state` takes 0 to 255, not 256"),
        ("t", Value::Float(1.0), "`t` has steps of 0.3 and never holds 1; 0.9 is the nearest"),
        ("alarms", list(["cold".into()]), "`alarms` has no flag \"cold\"; it has hot, low"),
        ("ratio", Value::Float(1e300), "`ratio` takes a number of 4 bytes, not 1"),
    ] {
        let refused = definition.expects(Some("report"), name, &value).expect_err("it never comes");
        assert!(refused.problem.starts_with(problem), "{}", refused.problem);
        assert!(definition.expects(None, name, &value).is_err());
    }
}

#[test]
fn a_field_of_a_message_that_is_always_the_same_is_looked_at() {
    let definition = message(table([("version", "u8 = 7".into()), ("n", "u8".into())])).expect("sound");
    assert!(definition.decode(&[1, 7, 0], None).problems.is_empty());
    let problems = definition.decode(&[1, 8, 0], None).problems;
    assert_eq!(problems[0].to_string(), "version at offset 1 is 08, it is always 07");
}

#[test]
fn a_description_that_would_check_nothing_is_refused() {
    let named = |names: Value| table([("m", table([("type", "u8".into()), ("enum", names)]))]);
    let flags = table([("m", table([("type", "u8".into()), ("flags", list(["a".into(), "a".into()]))]))]);
    let both = table([("m", table([("type", "u8".into()), ("is", "sequence".into()), ("value", Value::Int(1))]))]);
    for (fields, problem) in [
        (named(table([("x", Value::Int(300))])), "message.report.fields.m.enum.x: the field takes 0 to 255, not 300"),
        (
            named(table([("x", Value::Int(3)), ("y", Value::Int(3))])),
            "message.report.fields.m.enum.y: 3 is `x` already",
        ),
        (flags, "message.report.fields.m.flags: `a` is the name of two bits"),
        (table([("m", "u8 tag".into())]), "message.report.fields.m: tags and sequence numbers stand in the header"),
        (both, "message.report.fields.m.value: `is` and `value` exclude each other"),
    ] {
        assert_eq!(message(fields).expect_err("refused"), problem);
    }
    let refused = |frame: Value| {
        let messages = table([("report", table([("tag", Value::Int(1))]))]);
        let described = table([("name", "one".into()), ("frame", frame), ("message", messages)]);
        Definition::read(&described).map(|_| ()).map_err(|error| format!("{}: {}", error.key, error.problem))
    };
    let frame = |header: Value, checksum: Value, limit: i64| {
        let end = ("end", "0a".into());
        table([
            ("by", "delimiter".into()),
            end,
            ("header", header),
            ("checksum", checksum),
            ("limit", Value::Int(limit)),
        ])
    };
    let header = || table([("kind", "u8 tag".into()), ("a", "u8".into())]);
    let sum = |from: &str, to: &str| table([("name", "sum8".into()), ("from", from.into()), ("to", to.into())]);
    assert_eq!(refused(frame(header(), sum("kind", "payload"), 9)), Ok(()));
    for (frame, problem) in [
        (
            frame(header(), sum("payload", "kind"), 9),
            "frame: the checksum `checksum` covers nothing: look at `from` and `to`",
        ),
        (
            frame(header(), sum("kind", "checksum"), 9),
            "frame: the checksum `checksum` covers `checksum`, which is worked out no earlier",
        ),
        (frame(header(), "sum8".into(), 2), "frame.limit: no frame fits: the shortest has 3 bytes"),
        (
            frame(
                table([("kind", "u8 tag".into()), ("a", "u8 sequence".into()), ("b", "u8 sequence".into())]),
                "sum8".into(),
                9,
            ),
            "frame.header.b: a frame has one sequence number",
        ),
    ] {
        assert_eq!(refused(frame).expect_err("refused"), problem);
    }
    let asks = |from: &'static str| table([("tag", Value::Int(1)), ("from", from.into()), ("answer", "b".into())]);
    let answers = table([("tag", Value::Int(2)), ("from", "client".into())]);
    let frame =
        || table([("by", "delimiter".into()), ("end", "0a".into()), ("header", table([("kind", "u8 tag".into())]))]);
    let described = |from| {
        let messages = table([("a", asks(from)), ("b", answers.clone())]);
        Definition::read(&table([("name", "one".into()), ("frame", frame()), ("message", messages)]))
    };
    assert!(described("device").is_ok());
    let error = described("client").expect_err("refused");
    assert_eq!(error.problem, "`b` comes from the same side as `a`: it cannot answer it");
}

#[test]
fn what_should_count_and_is_no_count_is_told() {
    for (count, raw, sound) in [("i8", 0xff, 0x00), ("bcd[1]", 0xfa, 0x00), ("i8", 0x80, 0x00)] {
        let definition = message(table([("n", count.into()), ("x", "u8[n]".into())])).expect("sound");
        assert!(definition.decode(&[1, sound], None).problems.is_empty());
        let problems = definition.decode(&[1, raw], None).problems;
        assert!(problems[0].to_string().contains("what should count `x` is no count"), "{problems:?}");
    }
}
