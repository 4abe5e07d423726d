//! Without a habit every statement holds: sections 1 to 3 of the requirements, row by row.

use super::bench::{Bench, adu, lying, read};
use crate::endpoint::Why;
use crate::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[test]
fn header_fields_are_those_of_the_request() {
    // MBAP-01 to MBAP-04, MBAP-30, MBAP-31
    let mut bench = Bench::tcp();
    let conn = bench.open();
    for transaction in [0, 1, 0x7fff, 0x8000, 0xffff] {
        for unit in [1, 247, 255, 0] {
            bench.send(conn, &adu(transaction, unit, &read(2)));
            assert_eq!(bench.take(conn), adu(transaction, unit, &[3, 2, 0, 6]));
        }
    }
}

#[test]
fn a_server_with_a_unit_answers_to_it_and_to_255_and_0() {
    // MBAP-29 to MBAP-31
    let mut bench = Bench::new(crate::modbus::server::Transport::Tcp, Some(5));
    let conn = bench.open();
    for (unit, answered) in [(5, true), (255, true), (0, true), (1, false), (6, false)] {
        bench.send(conn, &adu(1, unit, &read(0)));
        assert_eq!(!bench.take(conn).is_empty(), answered, "unit {unit}");
    }
}

#[test]
fn a_foreign_protocol_is_discarded_and_the_connection_goes_on() {
    // MBAP-05, MBAP-20
    let mut bench = Bench::tcp();
    let conn = bench.open();
    for protocol in [1u16, 0x100, 0xffff] {
        let mut foreign = adu(1, 1, &read(0));
        foreign[2..4].copy_from_slice(&protocol.to_be_bytes());
        bench.send(conn, &foreign);
        assert_eq!(bench.take(conn), []);
        bench.send(conn, &adu(2, 1, &read(1)));
        assert_eq!(bench.take(conn), adu(2, 1, &[3, 2, 0, 3]));
    }
    assert_eq!(bench.face.counters().discarded, 3);
}

#[test]
fn a_request_in_any_pieces_is_answered_once() {
    // MBAP-06, MBAP-07, MBAP-16
    let request = adu(9, 1, &read(1));
    for split in 1..request.len() {
        let mut bench = Bench::tcp();
        let conn = bench.open();
        bench.send(conn, &request[..split]);
        bench.pass(MS * 100);
        assert_eq!(bench.take(conn), []);
        bench.send(conn, &request[split..]);
        assert_eq!(bench.take(conn), adu(9, 1, &[3, 2, 0, 3]));
    }
    let mut bench = Bench::tcp();
    let conn = bench.open();
    for byte in request {
        bench.send(conn, &[byte]);
        bench.pass(MS * 10);
    }
    assert_eq!(bench.take(conn), adu(9, 1, &[3, 2, 0, 3]));
}

#[test]
fn pipelined_requests_are_all_answered_in_order() {
    // MBAP-08 to MBAP-11
    let mut bench = Bench::tcp();
    let conn = bench.open();
    let requests: Vec<u8> = (0..32).flat_map(|n| adu(u16::from(n), 1, &read(n))).collect();
    bench.send(conn, &requests);
    let answers: Vec<u8> = (0..32).flat_map(|n| adu(u16::from(n), 1, &[3, 2, 0, n * 3])).collect();
    assert_eq!(bench.take(conn), answers);
}

#[test]
fn a_length_that_cannot_be_gone_by_closes_that_connection_only() {
    // MBAP-12, MBAP-14, MBAP-15, MBAP-19
    let mut bench = Bench::tcp();
    let other = bench.open();
    for length in [0u16, 255, 300, 0xffff] {
        let conn = bench.open();
        let mut pdu = read(0).to_vec();
        if (255..=300).contains(&length) {
            pdu.resize(usize::from(length) - 1, 0);
        }
        bench.send(conn, &lying(1, length, &pdu));
        bench.pass(MS * 1000);
        assert_eq!(bench.take(conn), [], "length {length}");
        assert!(bench.is_closed(conn));
        bench.send(other, &adu(2, 1, &read(1)));
        assert_eq!(bench.take(other), adu(2, 1, &[3, 2, 0, 3]));
    }
}

#[test]
fn an_empty_pdu_is_discarded() {
    // MBAP-13
    let mut bench = Bench::tcp();
    let conn = bench.open();
    bench.send(conn, &[adu(1, 1, &[]), adu(2, 1, &read(1))].concat());
    assert_eq!(bench.take(conn), adu(2, 1, &[3, 2, 0, 3]));
}

#[test]
fn trailing_and_missing_bytes_are_exception_03_and_the_stream_goes_on() {
    // MBAP-17, MBAP-18, MBAP-20
    let mut bench = Bench::tcp();
    let conn = bench.open();
    for pdu in [&[3, 0, 0, 0, 1, 9, 9][..], &[3, 0, 0, 0], &[3], &[16, 0, 0, 0, 1, 2, 9], &[16, 0, 0, 0, 1]] {
        bench.send(conn, &adu(1, 1, pdu));
        assert_eq!(bench.take(conn), adu(1, 1, &[pdu[0] | 0x80, 3]));
        bench.send(conn, &adu(2, 1, &read(1)));
        assert_eq!(bench.take(conn), adu(2, 1, &[3, 2, 0, 3]));
    }
}

#[test]
fn connections_live_side_by_side_and_end_alone() {
    // MBAP-21, MBAP-22, MBAP-25
    let mut bench = Bench::tcp();
    let first = bench.open();
    for _ in 0..100 {
        let conn = bench.open();
        bench.send(conn, &adu(1, 1, &read(1))[..9]);
        bench.closed(conn, Why::Reset);
    }
    let last = bench.open();
    bench.pass(MS * 1000);
    assert_eq!(bench.take(last), [], "it speaks only after a request");
    for conn in [first, last] {
        bench.send(conn, &adu(1, 1, &read(1)));
        assert_eq!(bench.take(conn), adu(1, 1, &[3, 2, 0, 3]));
    }
    assert_eq!(bench.face.connections(), 2);
}

#[test]
fn a_half_closed_client_gets_its_answers_and_then_the_end() {
    // MBAP-24, also when the answer takes its time
    for delay in ["default", "40ms"] {
        let mut bench = Bench::tcp();
        bench.habit("delay_answer", &delay.into());
        let conn = bench.open();
        bench.send(conn, &adu(1, 1, &read(1)));
        bench.closed(conn, Why::Finished);
        bench.pass(MS * 100);
        assert_eq!(bench.take(conn), adu(1, 1, &[3, 2, 0, 3]));
        assert!(bench.is_closed(conn));
        assert_eq!(bench.face.connections(), 0);
    }
}

/// Requests and what they are answered with.
fn answers(cases: &[(&[u8], &[u8])]) {
    let mut bench = Bench::tcp();
    for (request, answer) in cases {
        assert_eq!(bench.ask(request), *answer, "{}", crate::dissect::hex(request));
    }
}

#[test]
fn the_order_of_checks_is_function_value_address() {
    answers(&[
        (&[3, 0xff, 0xff, 0, 0], &[0x83, 3]),     // PDU-08: quantity 0 and no such address
        (&[3, 0xff, 0xfe, 0, 126], &[0x83, 3]),   // PDU-08
        (&[0x41, 0xff], &[0xc1, 1]),              // PDU-09, EXC-02
        (&[0x2a], &[0xaa, 1]),                    // EXC-01
        (&[0], &[0x80, 1]),                       // EXC-03
        (&[0x83, 0, 0, 0, 1], &[0x83, 1]),        // EXC-04
        (&[5, 0xff, 0, 0, 1], &[0x85, 3]),        // FC05-03
        (&[16, 0xff, 0xf0, 0, 0, 0], &[0x90, 3]), // FC16-02 with an address that is not there
    ]);
}

#[test]
fn the_ends_of_a_table_are_exact() {
    answers(&[
        (&[3, 0, 0, 0, 1], &[3, 2, 0, 0]),    // PDU-05
        (&[3, 0, 199, 0, 1], &[3, 2, 2, 85]), // PDU-05, PDU-06
        (&[3, 0, 199, 0, 2], &[0x83, 2]),     // PDU-06
        (&[3, 0, 200, 0, 1], &[0x83, 2]),     // FC03-04
        (&[3, 0xff, 0xff, 0, 1], &[3, 2, 0xab, 0xcd]),
        (&[3, 0xff, 0xff, 0, 2], &[0x83, 2]),   // PDU-07
        (&[3, 0xff, 0xff, 0, 125], &[0x83, 2]), // PDU-07
        (&[16, 0xff, 0xff, 0, 2, 4, 0, 1, 0, 2], &[0x90, 2]),
    ]);
}

#[test]
fn register_reads_keep_to_their_quantities() {
    // FC03-01 to FC03-03, FC04-01 to FC04-03, PDU-04
    let mut bench = Bench::tcp();
    for function in [3, 4] {
        for quantity in [1u8, 2, 124, 125] {
            let answer = bench.ask(&[function, 0, 0, 0, quantity]);
            assert_eq!(answer[..2], [function, quantity * 2]);
            let values: Vec<u16> = answer[2..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            assert!(values.iter().enumerate().all(|(index, value)| usize::from(*value) == index * 3));
            assert_eq!(values.len(), usize::from(quantity));
        }
        for quantity in [0u16, 126, 127, 128, 0x8001, 0xffff] {
            let [high, low] = quantity.to_be_bytes();
            assert_eq!(bench.ask(&[function, 0, 0, high, low]), [function | 0x80, 3]);
        }
    }
}

#[test]
fn bit_reads_are_packed_and_padded_with_zeros() {
    // FC01-01 to FC01-05, FC02-01 to FC02-05
    let mut bench = Bench::tcp();
    for function in [1, 2] {
        for quantity in [1u16, 7, 8, 9, 16, 17, 2000] {
            let [high, low] = quantity.to_be_bytes();
            let answer = bench.ask(&[function, 0, 0, high, low]);
            assert_eq!(usize::from(answer[1]), usize::from(quantity).div_ceil(8));
            for index in 0..usize::from(answer[1]) * 8 {
                let bit = answer[2 + index / 8] >> (index % 8) & 1 == 1;
                assert_eq!(bit, index < usize::from(quantity) && index % 3 == 0, "bit {index} of {quantity}");
            }
        }
        for quantity in [0u16, 2001, 0x7fff, 0xffff] {
            let [high, low] = quantity.to_be_bytes();
            assert_eq!(bench.ask(&[function, 0, 0, high, low]), [function | 0x80, 3]);
        }
        assert_eq!(bench.ask(&[function, 0xff, 0, 0, 1]), [function | 0x80, 2]);
        assert_eq!(bench.ask(&[function, 0x08, 0x97, 0, 2]), [function | 0x80, 2]);
    }
}

#[test]
fn single_writes_echo_and_read_back() {
    // FC05-01 to FC05-04, FC06-01, FC06-02
    answers(&[
        (&[5, 0, 1, 0xff, 0], &[5, 0, 1, 0xff, 0]),
        (&[1, 0, 0, 0, 3], &[1, 1, 0b011]),
        (&[5, 0, 0, 0, 0], &[5, 0, 0, 0, 0]),
        (&[1, 0, 0, 0, 3], &[1, 1, 0b010]),
        (&[5, 0, 2, 0, 1], &[0x85, 3]),
        (&[5, 0, 2, 0, 0xff], &[0x85, 3]),
        (&[5, 0, 2, 0xff, 0xff], &[0x85, 3]),
        (&[1, 0, 0, 0, 3], &[1, 1, 0b010]),
        (&[5, 0xff, 0xff, 0xff, 0], &[0x85, 2]),
        (&[6, 0, 1, 0x80, 0], &[6, 0, 1, 0x80, 0]),
        (&[3, 0, 1, 0, 1], &[3, 2, 0x80, 0]),
        (&[6, 0, 200, 0, 1], &[0x86, 2]),
    ]);
}

#[test]
fn multiple_writes_are_whole_or_nothing() {
    // FC15-01 to FC15-05, FC16-01 to FC16-06, EXC-09
    answers(&[
        (&[15, 0, 0, 0, 10, 2, 0xff, 0xff], &[15, 0, 0, 0, 10]),
        (&[1, 0, 0, 0, 16], &[1, 2, 0xff, 0b1001_0011]), // FC15-04: coils beyond the quantity are as before
        (&[15, 0, 0, 0, 16, 1, 0], &[0x8f, 3]),
        (&[15, 0, 0, 0, 8, 2, 0, 0], &[0x8f, 3]),
        (&[15, 0, 0, 0, 0, 0], &[0x8f, 3]),
        (&[15, 0x08, 0x97, 0, 2, 1, 0], &[0x8f, 2]),
        (&[1, 0x08, 0x97, 0, 1], &[1, 1, 1]),
        (&[16, 0, 5, 0, 2, 4, 0, 1, 0, 2], &[16, 0, 5, 0, 2]),
        (&[3, 0, 5, 0, 2], &[3, 4, 0, 1, 0, 2]),
        (&[16, 0, 5, 0, 0, 0], &[0x90, 3]),
        (&[16, 0, 5, 0, 2, 2, 0, 1], &[0x90, 3]),
        (&[16, 0, 5, 0, 1, 4, 0, 1, 0, 2], &[0x90, 3]),
        (&[16, 0, 5, 0, 2, 3, 0, 1, 0], &[0x90, 3]),
        (&[16, 0, 5, 0x80, 1, 2, 0, 1], &[0x90, 3]), // FC16-04: 2 * 0x8001 in 16 bits is 2
        (&[16, 0, 5, 0, 2, 4, 0, 9], &[0x90, 3]),    // FC16-05
        (&[16, 0, 199, 0, 2, 4, 0, 9, 0, 9], &[0x90, 2]),
        (&[3, 0, 199, 0, 1], &[3, 2, 2, 85]),
        (&[3, 0, 5, 0, 2], &[3, 4, 0, 1, 0, 2]),
    ]);
    let mut bench = Bench::tcp();
    let mut largest = vec![16, 0, 0, 0, 123, 246];
    largest.resize(6 + 246, 7);
    assert_eq!(bench.ask(&largest), [16, 0, 0, 0, 123]);
    let mut coils = vec![15, 0, 0, 0x07, 0xb0, 246];
    coils.resize(6 + 246, 0xff);
    assert_eq!(bench.ask(&coils), [15, 0, 0, 0x07, 0xb0]);
    coils[4] = 0xb1;
    coils[5] = 247;
    coils.push(1);
    assert_eq!(bench.ask(&coils), [0x8f, 3], "FC15-02");
}

#[test]
fn mask_and_read_write_do_what_the_standard_says() {
    // FC22-01 to FC22-03, FC23-01 to FC23-04
    answers(&[
        (&[6, 0, 4, 0, 0x12], &[6, 0, 4, 0, 0x12]),
        (&[22, 0, 4, 0, 0xf2, 0, 0x25], &[22, 0, 4, 0, 0xf2, 0, 0x25]),
        (&[3, 0, 4, 0, 1], &[3, 2, 0, 0x17]),
        (&[22, 1, 0, 0, 0, 0, 0], &[0x96, 2]),
        (&[23, 0, 4, 0, 2, 0, 5, 0, 1, 2, 0, 9], &[23, 4, 0, 0x17, 0, 9]),
        (&[23, 0, 4, 0, 0, 0, 5, 0, 1, 2, 0, 9], &[0x97, 3]),
        (&[23, 0, 4, 0, 126, 0, 5, 0, 1, 2, 0, 9], &[0x97, 3]),
        (&[23, 0, 4, 0, 1, 0, 5, 0, 1, 4, 0, 9], &[0x97, 3]),
        (&[23, 0, 4, 0, 1, 0, 5, 0, 2, 2, 0, 9], &[0x97, 3]),
        (&[23, 1, 0, 0, 1, 0, 5, 0, 1, 2, 0, 8], &[0x97, 2]), // FC23-03: nothing written
        (&[23, 0, 4, 0, 1, 0, 199, 0, 2, 4, 0, 8, 0, 8], &[0x97, 2]),
        (&[3, 0, 5, 0, 1], &[3, 2, 0, 9]),
        (&[3, 0, 199, 0, 1], &[3, 2, 2, 85]),
    ]);
    let mut bench = Bench::tcp();
    let mut largest = vec![23, 0, 0, 0, 125, 0, 0, 0, 121, 242];
    largest.resize(10 + 242, 1);
    let answer = bench.ask(&largest);
    assert_eq!((answer.len(), answer[1]), (252, 250));
}

#[test]
fn an_internal_failure_is_exception_04() {
    // PDU-10
    let mut bench = Bench::tcp();
    bench.habit("fail_at", &crate::record::Value::Int(7));
    assert_eq!(bench.ask(&[3, 0, 0, 0, 8]), [0x83, 4]);
    assert_eq!(bench.ask(&[6, 0, 7, 0, 1]), [0x86, 4]);
    assert_eq!(bench.ask(&[3, 0, 8, 0, 1]), [3, 2, 0, 24]);
}

#[test]
fn power_off_forgets_connections_and_counts() {
    use crate::device::Face as _;
    let mut bench = Bench::tcp();
    bench.open();
    bench.ask(&read(0));
    let (now, store) = (bench.now, bench.store.clone());
    bench.face.power(now, false, &store);
    assert_eq!((bench.face.connections(), bench.face.counters()), (0, crate::modbus::server::Counters::default()));
    assert_eq!(bench.face.poll_timeout(), None);
}
