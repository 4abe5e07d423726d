//! Points of the device in registers and coils.

use super::bench::Bench;
use crate::device::{Face, Origin};
use crate::record::Value;

#[test]
fn points_are_read_and_written_through_the_store() {
    let mut bench = Bench::tcp();
    assert_eq!(bench.ask(&[3, 1, 44, 0, 4]), [3, 8, 0, 1, 0, 2, 0, 50, 0x12, 0x67]);
    assert_eq!(bench.ask(&[16, 1, 44, 0, 2, 4, 0, 3, 0, 4]), [16, 1, 44, 0, 2]);
    assert_eq!(bench.store.value("energy"), Some(&Value::Int(0x0003_0004)));
    assert_eq!(bench.ask(&[5, 0x0b, 0xb8, 0xff, 0]), [5, 0x0b, 0xb8, 0xff, 0]);
    assert_eq!(bench.store.value("relay"), Some(&Value::Bool(true)));
    let change = bench.store.changes_since(0).last().expect("a change");
    assert_eq!(
        (&change.by, change.at),
        (&Origin::Face("modbus".into()), bench.now - crate::time::Duration::from_secs(1))
    );
}

#[test]
fn half_a_point_keeps_the_other_half() {
    let mut bench = Bench::tcp();
    assert_eq!(bench.ask(&[6, 1, 45, 0, 9]), [6, 1, 45, 0, 9]);
    assert_eq!(bench.store.value("energy"), Some(&Value::Int(0x0001_0009)));
    assert_eq!(bench.ask(&[3, 1, 45, 0, 1]), [3, 2, 0, 9]);
}

#[test]
fn a_refused_value_is_exception_03_and_a_point_to_read_only_02_and_nothing_is_written() {
    let mut bench = Bench::tcp();
    assert_eq!(bench.ask(&[6, 1, 46, 0, 101]), [0x86, 3]);
    assert_eq!(bench.ask(&[6, 1, 47, 0, 1]), [0x86, 2]);
    // The first point of the range would take its value, the last one does not: none is written.
    assert_eq!(bench.ask(&[16, 1, 44, 0, 3, 6, 0, 7, 0, 7, 0, 101]), [0x90, 3]);
    assert_eq!(bench.store.value("energy"), Some(&Value::Int(0x0001_0002)));
    assert_eq!(bench.ask(&[6, 1, 46, 0xff, 0xf6]), [6, 1, 46, 0xff, 0xf6]);
    assert_eq!(bench.store.value("limit"), Some(&Value::Int(-10)));
}

#[test]
fn a_map_that_names_no_point_is_told_at_power_on_and_fails_as_a_device_failure() {
    let mut bench = Bench::tcp();
    bench.store = crate::device::PointStore::default();
    let (now, store) = (bench.now, bench.store.clone());
    bench.face.power(now, true, &store);
    let record = bench.face.poll_event().expect("a record");
    assert_eq!(record.kind, "modbus.unknown_point");
    assert_eq!(record.field("point"), Some(&Value::from("relay")));
    assert_eq!(bench.ask(&[3, 1, 44, 0, 1]), [0x83, 4]);
}
