//! Values to registers and back; what does not fit; maps.

use super::*;
use crate::modbus::pdu::{Request, Response};

fn parsed(entries: &[(&str, Value)]) -> Result<Vec<Mapping>, (String, String)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    for (key, value) in [("table", Value::from("holding")), ("address", Value::Int(7))].iter().chain(entries) {
        all.retain(|(known, _)| known != key);
        all.push(((*key).to_owned(), value.clone()));
    }
    let map = Value::Table(vec![("p".to_owned(), Value::Table(all))]);
    parse_map(&map).map_err(|error| (error.key, error.problem))
}

fn point(entries: &[(&str, Value)]) -> Mapping {
    parsed(entries).expect("a map").remove(0)
}

fn list(values: &[i64]) -> Value {
    Value::List(values.iter().map(|value| Value::Int(*value)).collect())
}

fn labels() -> Value {
    Value::Table(vec![("off".to_owned(), Value::Int(0)), ("heat".to_owned(), Value::Int(5))])
}

#[test]
fn values_become_registers_and_come_back() {
    for (entries, value, registers) in [
        (vec![("scale", Value::Float(0.1))], Value::Float(230.1), vec![2301]),
        (
            vec![("type", "i16".into()), ("scale", 0.01.into()), ("offset", (-40.0).into())],
            Value::Float(-45.5),
            vec![(-550i16) as u16],
        ),
        (vec![("type", "u32".into())], Value::Int(100_000), vec![1, 0x86a0]),
        (vec![("type", "i32".into())], Value::Int(-2), vec![0xffff, 0xfffe]),
        // 1.5 is 0x3fc00000 in IEEE 754.
        (vec![("type", "f32".into()), ("words", "little".into())], Value::Float(1.5), vec![0, 0x3fc0]),
        (vec![("type", "f64".into())], Value::Float(-0.1), vec![0xbfb9, 0x9999, 0x9999, 0x999a]),
        (vec![("type", "u64".into())], Value::Unsigned(u64::MAX), vec![0xffff; 4]),
        (vec![("type", "u64".into())], Value::Int(9_007_199_254_740_993), vec![0x20, 0, 0, 1]),
        (
            vec![("type", "i64".into()), ("order", "HGFEDCBA".into())],
            Value::Int(-2),
            vec![0xfeff, 0xffff, 0xffff, 0xffff],
        ),
        (vec![("type", "bool".into())], Value::Bool(true), vec![1]),
        (vec![("bit", Value::Int(3))], Value::Bool(true), vec![8]),
        (vec![("bits", list(&[4, 6]))], Value::Int(5), vec![0x50]),
        (vec![("bits", list(&[4, 7])), ("type", "i16".into())], Value::Int(-3), vec![0xd0]),
        (vec![("type", "u8".into()), ("byte", "high".into())], Value::Int(0xab), vec![0xab00]),
        (vec![("type", "i8".into())], Value::Int(-1), vec![0x00ff]),
        (vec![("type", "u32".into()), ("bits", list(&[12, 19]))], Value::Int(0xa5), vec![0x000a, 0x5000]),
        (vec![("type", "bcd".into())], Value::Int(1234), vec![0x1234]),
        (
            vec![("type", "bcd".into()), ("registers", Value::Int(2)), ("scale", 0.01.into())],
            Value::Float(1234.56),
            vec![0x12, 0x3456],
        ),
        (vec![("type", "text".into()), ("registers", Value::Int(3))], "pump".into(), vec![0x7075, 0x6d70, 0]),
        (
            vec![("type", "text".into()), ("registers", Value::Int(2)), ("bytes", "little".into())],
            "pump".into(),
            vec![0x7570, 0x706d],
        ),
        (vec![("labels", labels())], "heat".into(), vec![5]),
        (
            vec![("type", "u32".into()), ("epoch", "seconds".into())],
            "2000-02-29T12:00:00Z".into(),
            vec![0x38bb, 0xb4c0],
        ),
        (vec![("type", "datetime".into())], "2026-11-22T14:30:05Z".into(), vec![2026, 11, 22, 14, 30, 5]),
    ] {
        let encoding = point(&entries).encoding;
        assert_eq!(encoding.encode(&value), Ok(registers.clone()), "{entries:?}");
        assert_eq!(encoding.decode(&registers), Ok(value), "{entries:?}");
    }
}

#[test]
fn registers_that_hold_no_value_are_told() {
    let bcd = point(&[("type", "bcd".into())]).encoding;
    assert_eq!(bcd.decode(&[0x12af]), Err("registers [12af] hold digits above 9".to_owned()));
    let date = point(&[("type", "datetime".into())]).encoding;
    assert_eq!(
        date.decode(&[2026, 2, 30, 0, 0, 0]),
        Err("registers [2026, 2, 30, 0, 0, 0] are no date and time".to_owned())
    );
    let unknown = point(&[("labels", labels())]).encoding;
    assert_eq!(unknown.decode(&[9]), Ok(Value::Int(9)));
    let text = point(&[("type", "text".into()), ("registers", Value::Int(2))]).encoding;
    assert_eq!(text.decode(&[0x41ff, 0x2000]), Ok(Value::from("A\\xff")));
}

#[test]
fn what_does_not_fit_is_refused_with_the_nearest() {
    let refused = |entries: &[(&str, Value)], value: Value| {
        point(entries).write_request(&value).expect_err("it does not fit").to_string()
    };
    for (entries, value, told) in [
        (
            vec![("scale", Value::Float(0.1))],
            Value::Float(6553.7),
            "point `p` cannot hold 6553.7; the nearest is 6553.5",
        ),
        (vec![], Value::Int(-1), "point `p` cannot hold -1; the nearest is 0"),
        (vec![], Value::Float(f64::NAN), "point `p` holds integers and cannot hold NaN"),
        (vec![], "hot".into(), "point `p` takes a number, not \"hot\""),
        (
            vec![("type", "i64".into())],
            Value::Unsigned(u64::MAX),
            "point `p` cannot hold 18446744073709551615; the nearest is 9223372036854775807",
        ),
        (
            vec![("type", "f32".into())],
            Value::Float(1e39),
            "point `p` cannot hold 1e39; the nearest is 3.4028234663852886e38",
        ),
        (vec![("type", "bcd".into())], Value::Int(10_000), "point `p` cannot hold 10000; the nearest is 9999"),
        (vec![("bits", list(&[4, 6]))], Value::Int(8), "point `p` cannot hold 8; the nearest is 7"),
        (vec![("range", list(&[10, 20]))], Value::Int(21), "point `p` takes 10 to 20, not 21"),
        (vec![("labels", labels())], "cool".into(), "point `p` knows no \"cool\"; it has off, heat"),
        (vec![("type", "text".into())], "abc".into(), "point `p` has room for 2 bytes, \"abc\" takes 3"),
        (
            vec![("type", "datetime".into())],
            "now".into(),
            "point `p` takes a date and time such as \"2026-11-22T14:30:00Z\", not \"now\"",
        ),
        (vec![("table", "input".into())], Value::Int(1), "point `p` stands in a table that can only be read"),
        (vec![("access", "read".into())], Value::Int(1), "point `p` can only be read, the map says"),
        (vec![("table", "coils".into())], Value::Int(2), "point `p` cannot hold 2; the nearest is true"),
    ] {
        assert_eq!(refused(&entries, value), told);
    }
}

#[test]
fn an_emulated_device_shows_the_nearest_that_fits() {
    let shown = |kind, value| {
        let encoding = Encoding::plain(kind);
        let mut registers = vec![0; encoding.registers];
        encoding.put(&value, &mut registers);
        registers
    };
    assert_eq!(shown(PointType::U16, Value::Int(-1)), [0]);
    assert_eq!(shown(PointType::U16, Value::Int(70_000)), [0xffff]);
    assert_eq!(shown(PointType::I16, Value::Float(f64::NAN)), [0]);
    assert_eq!(shown(PointType::U16, Value::Float(f64::INFINITY)), [0xffff]);
    assert_eq!(shown(PointType::I32, Value::Float(-1e12)), [0x8000, 0]);
    assert_eq!(shown(PointType::U16, Value::Text("no number".into())), [0]);
    assert_eq!(shown(PointType::F32, Value::Float(1e39)), [0x7f7f, 0xffff]);
}

#[test]
fn a_point_is_read_and_written_by_the_smallest_function() {
    let input = point(&[("table", "input".into()), ("type", "u32".into())]);
    assert_eq!(input.read_request(), Request::ReadInputRegisters { address: 7, quantity: 2 });
    let answer = |values: Vec<u16>| Response::Registers { function: 4, values };
    assert_eq!(input.value(&answer(vec![1, 0])), Ok(Value::Int(65536)));
    assert!(input.value(&answer(vec![1])).is_err());
    let coil = point(&[("table", "coils".into())]);
    assert_eq!(coil.value(&Response::Bits { function: 1, values: vec![true] }), Ok(Value::Bool(true)));
    assert_eq!(coil.write_request(&true.into()), Ok(Some(Request::WriteSingleCoil { address: 7, on: true })));
    let tenth = point(&[("type", "i16".into()), ("scale", 0.1.into())]);
    let single = Request::WriteSingleRegister { address: 7, value: (-85i16) as u16 };
    assert_eq!(tenth.write_request(&Value::Float(-8.54)), Ok(Some(single)));
    let wide = point(&[("type", "f32".into())]);
    let several = Request::WriteMultipleRegisters { address: 7, values: vec![0x3fc0, 0] };
    assert_eq!(wide.write_request(&Value::Float(1.5)), Ok(Some(several)));
}

#[test]
fn a_part_of_a_register_leaves_the_rest_alone() {
    let part = point(&[("bits", list(&[4, 6]))]);
    let mask = Request::MaskWriteRegister { address: 7, and: 0xff8f, or: 0x50 };
    assert_eq!(part.write_request(&Value::Int(5)), Ok(Some(mask)));
    let merged = part.merged_request(&Value::Int(5), &[0xffff]);
    assert_eq!(merged, Ok(Request::WriteSingleRegister { address: 7, value: 0xffdf }));
    let wide = point(&[("type", "u32".into()), ("bits", list(&[12, 19]))]);
    assert_eq!(wide.write_request(&Value::Int(1)), Ok(None));
    let merged = wide.merged_request(&Value::Int(0xa5), &[0xffff, 0xffff]);
    assert_eq!(merged, Ok(Request::WriteMultipleRegisters { address: 7, values: vec![0xfffa, 0x5fff] }));
}

#[test]
fn two_points_may_share_a_register_but_no_bit() {
    let at = |name: &str, entries: &[(&str, Value)]| Mapping { point: name.to_owned(), ..point(entries) };
    let low = at("low", &[("bits", list(&[0, 3]))]);
    let high = at("high", &[("type", "u8".into()), ("byte", "high".into())]);
    let whole = at("whole", &[]);
    let before = at("before", &[("address", Value::Int(6)), ("type", "u32".into())]);
    let elsewhere = at("elsewhere", &[("table", "input".into())]);
    assert!(overlap(&[low.clone(), high.clone(), elsewhere]).is_none());
    let found = |points: &[Mapping]| overlap(points).map(|(a, b, at)| (a.point.clone(), b.point.clone(), at));
    assert_eq!(found(&[low.clone(), whole.clone()]), Some(("low".into(), "whole".into(), 7)));
    assert_eq!(found(&[whole, before]), Some(("before".into(), "whole".into(), 7)));
    assert_eq!(found(&[low.clone(), high, low]).map(|(.., at)| at), Some(7));
}

#[test]
fn what_is_wrong_with_a_map_is_told_with_its_key() {
    for (entries, key, problem) in [
        (vec![("address", Value::Int(65_536))], "p.address", "it must be an integer from 0 to 65535, not 65536"),
        (
            vec![("address", Value::Int(65_535)), ("type", "u32".into())],
            "p.address",
            "2 registers from address 65535 end beyond address 65535",
        ),
        (
            vec![("order", "ABCD".into())],
            "p.order",
            "`ABCD` is no order of 2 bytes: each letter of AB stands in it once",
        ),
        (
            vec![("order", "BA".into()), ("words", "little".into())],
            "p.order",
            "`order` says all: leave `words` and `bytes` out",
        ),
        (vec![("bit", Value::Int(16))], "p.bit", "it must be an integer from 0 to 15, not 16"),
        (vec![("bits", list(&[7, 4]))], "p.bits", "it begins above its end: 7 to 4; bit 0 is the lowest"),
        (vec![("bit", Value::Int(1)), ("byte", "low".into())], "p", "of bit, byte only one can be given"),
        (
            vec![("bits", list(&[0, 3])), ("type", "f32".into())],
            "p.bits",
            "a point of type \"f32\" in this table has no parts",
        ),
        (
            vec![("type", "bcd".into()), ("registers", Value::Int(3))],
            "p.registers",
            "4, 8 or 16 digits take 1, 2 or 4 registers, not 3",
        ),
        (
            vec![("labels", Value::Table(vec![("a".into(), Value::Int(1)), ("b".into(), Value::Int(1))]))],
            "p.labels.b",
            "1 is `a` already",
        ),
        (vec![("range", list(&[5, 1]))], "p.range", "it begins above its end: 5 to 1"),
        (vec![("table", "input".into()), ("access", "write".into())], "p.access", "the table can only be read"),
        (vec![("type", "text".into()), ("scale", 2.0.into())], "p.scale", "type \"text\" holds no number"),
        (vec![("type", "f32".into()), ("epoch", "seconds".into())], "p.epoch", "only an integer counts seconds"),
        (vec![("scal", Value::Int(1))], "p.scal", "unknown key `scal`"),
    ] {
        assert_eq!(parsed(&entries), Err((format!("map.{key}"), problem.to_owned())));
    }
}

proptest::proptest! {
    #[test]
    fn any_registers_decode_to_a_value_that_encodes_to_them(kind in 0..12usize, registers in proptest::array::uniform4(0..=u16::MAX)) {
        let encoding = Encoding::plain(PointType::NAMES[kind].1);
        let registers = &registers[..encoding.registers];
        if let Ok(value) = encoding.decode(registers)
            && value.as_f64().is_none_or(|number| !number.is_nan())
        {
            let mask = encoding.masks();
            let owned: Vec<u16> = registers.iter().zip(&mask).map(|(register, mask)| register & mask).collect();
            let again = encoding.encode(&value).expect("it came from registers");
            proptest::prop_assert!(again == owned || encoding.kind == PointType::Bool, "{value:?} {registers:?} {again:?}");
        }
    }

    #[test]
    fn no_value_makes_it_panic(kind in 0..14usize, number in proptest::num::f64::ANY, integer in proptest::num::i64::ANY, text in ".*") {
        let kind = PointType::NAMES[kind].1;
        for value in [Value::Float(number), Value::Int(integer), Value::Text(text), Value::Unsigned(u64::MAX)] {
            let encoding = Encoding { scale: 0.1, ..Encoding::plain(kind) };
            let mut shown = vec![0; encoding.registers];
            encoding.put(&value, &mut shown);
            let _ = encoding.decode(&shown);
            if let Ok(registers) = encoding.encode(&value) {
                proptest::prop_assert_eq!(registers.len(), encoding.registers);
            }
        }
    }
}
