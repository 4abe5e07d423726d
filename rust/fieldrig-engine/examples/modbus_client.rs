//! The Modbus client as a program to measure: the same questions and the same report as `tests/bench/anchors/raw_client.c`.
//!
//! usage: modbus_client PORT DEPTH full|counts     (the trace level; files go into a new folder among the temporary ones)
//! For each line `COUNT` on stdin it makes at least COUNT reads of 10 registers, DEPTH of them in flight, and prints one line:
//! {"operations": n, "elapsed_ns": total, "p50_ns": median time of one batch of DEPTH}

use fieldrig_engine::trace::Level;
use fieldrig_engine::{Binding, PortSpec, Rig, RigOptions};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::modbus;
use fieldrig_proto::modbus::client::{Client, ClientEvent, Config, RequestError, Ticket};
use fieldrig_proto::modbus::pdu::Request;
use fieldrig_proto::time::Duration;
use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: modbus_client PORT DEPTH full|counts";
    let port = arguments.next().ok_or(usage)?;
    let depth: usize = arguments.next().ok_or(usage)?.parse()?;
    let options = match arguments.next().as_deref() {
        Some("full") => {
            let folder = std::env::temp_dir().join(format!("fieldrig-bench-{}", std::process::id()));
            RigOptions { folder: Some(folder), level: Level::Full, ..RigOptions::default() }
        }
        Some("counts") => RigOptions { level: Level::Counts, ..RigOptions::default() },
        _ => return Err(usage.into()),
    };
    let rig = Rig::start(options)?;
    let port = PortSpec::parse(&format!("tcp://127.0.0.1:{port}"))?;
    let binding = Binding { via: "modbus".into(), port, protocol: Some(&modbus::TCP), we_are: Sender::Client };
    let node = rig.open("client", Client::new(Config { in_flight: depth, ..Config::tcp() }), vec![binding])?;
    for line in std::io::stdin().lock().lines() {
        let count: usize = line?.trim().parse()?;
        let mut times = Vec::with_capacity(count / depth + 1);
        let begun = Instant::now();
        while times.len() * depth < count {
            let batch = Instant::now();
            let mut left = depth;
            let asked = node.call(
                |client, now| {
                    let read = Request::ReadHoldingRegisters { address: 0, quantity: 10 };
                    let mut ask = || client.request(now, 1, read.clone(), Duration::from_secs(2));
                    (0..depth).map(|_| ask()).collect::<Result<Vec<Ticket>, RequestError>>()
                },
                Duration::from_secs(5),
                |_, _, events, _| {
                    left -= events.drain(..).filter(|event| matches!(event, ClientEvent::Answered(..))).count();
                    (left == 0).then_some(())
                },
                &mut || true,
            )??;
            asked.outcome.ok_or("a batch was not answered")?;
            times.push(batch.elapsed().as_nanos());
        }
        let elapsed = begun.elapsed().as_nanos();
        times.sort_unstable();
        let (operations, median) = (times.len() * depth, times[times.len() / 2]);
        println!("{{\"operations\": {operations}, \"elapsed_ns\": {elapsed}, \"p50_ns\": {median}}}");
    }
    Ok(())
}
