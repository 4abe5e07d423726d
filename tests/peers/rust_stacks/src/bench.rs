//! The benchmark's client: reads of ten holding registers of unit 1 from address 0, at a depth.
//!
//! For each line `COUNT` on standard input it makes at least COUNT reads and prints one JSON line, as
//! tests/bench/anchors/raw_client.c does: `{"operations": n, "elapsed_ns": total, "p50_ns": median of one batch}`; a server
//! that leaves a batch unanswered for two seconds ends it with `{"stalled": ".."}`. Watching for that costs the client one
//! atomic addition a batch. Depth 16 is voltage_modbus' own pipeline; tokio-modbus has one request in flight.

use crate::memory::UNIT;
use serde_json::json;
use std::io::BufRead as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_modbus::client::{Context, Reader as _, tcp};
use tokio_modbus::slave::Slave;
use voltage_modbus::{ModbusClient as _, ModbusTcpClient};

const QUANTITY: u16 = 10;
const PATIENCE: Duration = Duration::from_secs(2);

enum Reader {
    TokioModbus(Context),
    Voltage(ModbusTcpClient),
}

pub async fn client(stack: &str, port: &str, depth: &str) -> Result<(), String> {
    let depth: u16 = depth.parse().map_err(|_| format!("depth {depth:?} is no number"))?;
    let mut reader = open(stack, port, depth).await?;
    watch(depth);
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())? > 0 {
        let count: u64 = line.trim().parse().map_err(|_| format!("{line:?} is no number"))?;
        println!("{}", measure(&mut reader, count, depth).await?);
        line.clear();
    }
    Ok(())
}

async fn open(stack: &str, port: &str, depth: u16) -> Result<Reader, String> {
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    let address = ([127, 0, 0, 1], port).into();
    match stack {
        "tokio-modbus" if depth == 1 => {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            Ok(Reader::TokioModbus(tcp::attach_slave(stream, Slave(UNIT))))
        }
        "tokio-modbus" => Err("tokio-modbus has one request in flight: depth 1".into()),
        "voltage_modbus" => {
            ModbusTcpClient::new(address, PATIENCE).await.map(Reader::Voltage).map_err(|error| error.to_string())
        }
        _ => Err(format!("no stack {stack}")),
    }
}

async fn measure(reader: &mut Reader, count: u64, depth: u16) -> Result<serde_json::Value, String> {
    let batches = count.div_ceil(depth.into()).max(1);
    let mut times = Vec::with_capacity(batches as usize);
    RUNNING.store(1, Ordering::Relaxed);
    let begin = Instant::now();
    for _ in 0..batches {
        let before = Instant::now();
        reader.batch(depth).await?;
        times.push(before.elapsed());
        RUNNING.fetch_add(1, Ordering::Relaxed);
    }
    let elapsed = begin.elapsed();
    RUNNING.store(0, Ordering::Relaxed);
    times.sort_unstable();
    let p50 = times[times.len() / 2];
    Ok(json!({
        "operations": batches * u64::from(depth),
        "elapsed_ns": elapsed.as_nanos() as u64,
        "p50_ns": p50.as_nanos() as u64,
    }))
}

impl Reader {
    async fn batch(&mut self, depth: u16) -> Result<(), String> {
        match self {
            Self::TokioModbus(context) => {
                let said = context.read_holding_registers(0, QUANTITY).await.map_err(|error| error.to_string())?;
                ten(&said.map_err(|exception| exception.to_string())?)
            }
            Self::Voltage(client) if depth == 1 => {
                let said = client.read_03(UNIT, 0, QUANTITY).await;
                ten(&said.map_err(|error| error.to_string())?)
            }
            Self::Voltage(client) => {
                let reads = vec![(0, QUANTITY); depth.into()];
                let said = client.pipeline_reads(UNIT, &reads, PATIENCE).await.map_err(|error| error.to_string())?;
                said.iter().try_for_each(|one| match one {
                    Ok(values) => ten(values),
                    Err(error) => Err(error.to_string()),
                })
            }
        }
    }
}

fn ten(values: &[u16]) -> Result<(), String> {
    if values.len() == usize::from(QUANTITY) { Ok(()) } else { Err(format!("{} registers came", values.len())) }
}

/// 0 between the rounds, otherwise it counts the batches of this round.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// Ends the program when a batch has no answer; the clients themselves may wait for ever.
fn watch(depth: u16) {
    std::thread::spawn(move || {
        let mut before = 0;
        loop {
            std::thread::sleep(PATIENCE);
            let now = RUNNING.load(Ordering::Relaxed);
            if now != 0 && now == before {
                println!(
                    "{}",
                    json!({"stalled": format!("left one of {depth} requests that came in one segment unanswered")})
                );
                std::process::exit(0);
            }
            before = now;
        }
    });
}
