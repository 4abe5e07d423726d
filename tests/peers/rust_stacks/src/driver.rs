//! The driver protocol of suite modbus_client: one JSON request a line in, one JSON outcome a line out.
//!
//! It lives until standard input ends. A panic of a stack is an outcome like any other, "other", because a user's program
//! would have to live with it, too.

use crate::call::{Answer, Call, Failure, Table};
use crate::client::{Client, Line, Place, resolve};
use serde_json::{Map, Value, json};
use std::io::BufRead as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub fn serve(runtime: &Runtime, stack: &str) -> Result<(), String> {
    let mut driver = Driver { runtime, stack, client: None };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let request: Value = serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
        println!("{}", driver.outcome(&request));
    }
    Ok(())
}

struct Driver<'a> {
    runtime: &'a Runtime,
    stack: &'a str,
    client: Option<Client>,
}

impl Driver<'_> {
    fn outcome(&mut self, request: &Value) -> Value {
        let began = Instant::now();
        let said = catch_unwind(AssertUnwindSafe(|| self.act(request)));
        let said = said.unwrap_or_else(|_| Err(Failure::new("other", "it panicked")));
        let mut outcome = said.unwrap_or_else(|failure| failed(&failure));
        outcome.insert("took".into(), json!(began.elapsed().as_secs_f64()));
        Value::Object(outcome)
    }

    fn act(&mut self, request: &Value) -> Result<Map<String, Value>, Failure> {
        match request["call"].as_str() {
            Some("open") => self.open(request),
            Some("close") => {
                self.client = None;
                Ok(object(json!({"ok": true})))
            }
            Some("repeat") => self.repeat(request),
            Some("together") => self.together(request),
            _ => {
                let (unit, call) = call(request)?;
                let (runtime, client) = (self.runtime, self.open_client()?);
                runtime.block_on(client.call(unit, &call)).map(told)
            }
        }
    }

    fn open_client(&mut self) -> Result<&mut Client, Failure> {
        self.client.as_mut().ok_or_else(|| Failure::new("other", "no client is open"))
    }

    fn open(&mut self, request: &Value) -> Result<Map<String, Value>, Failure> {
        self.client = None;
        for setting in ["first_transaction", "echo"] {
            if !request[setting].is_null() {
                return Err(Failure::new("unsupported", setting));
            }
        }
        let timeout = Duration::from_secs_f64(request["timeout"].as_f64().unwrap_or(0.5));
        let place = place(request["url"].as_str().unwrap_or_default())?;
        let opened = self.runtime.block_on(Client::open(self.stack, place, timeout))?;
        self.client = Some(opened);
        Ok(object(json!({"ok": true, "name": self.stack, "retries": 0})))
    }

    fn repeat(&mut self, request: &Value) -> Result<Map<String, Value>, Failure> {
        let (unit, call) = call(&request["request"])?;
        let times = request["times"].as_u64().unwrap_or(1);
        let (runtime, client) = (self.runtime, self.open_client()?);
        for _ in 1..times {
            runtime.block_on(client.call(unit, &call))?;
        }
        runtime.block_on(client.call(unit, &call)).map(told)
    }

    fn together(&mut self, request: &Value) -> Result<Map<String, Value>, Failure> {
        let calls: Result<Vec<_>, Failure> = list(request, "calls")?.iter().map(call).collect();
        let (runtime, client) = (self.runtime, self.open_client()?);
        let said = runtime.block_on(client.together(&calls?))?;
        let outcomes = said.into_iter().map(|one| Value::Object(one.map_or_else(|failure| failed(&failure), told)));
        Ok(object(json!({"outcomes": outcomes.collect::<Vec<_>>()})))
    }
}

/// `tcp://HOST:PORT`, `rtu://PATH?line=9600+8N1`, `ascii://..`.
fn place(url: &str) -> Result<Place<'_>, Failure> {
    let unsupported = || Failure::new("unsupported", format!("no such address: {url}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(unsupported)?;
    match scheme {
        "tcp" => Ok(Place::Tcp(resolve(rest)?)),
        "rtu" => Ok(Place::Rtu(line(rest).ok_or_else(unsupported)?)),
        "ascii" => Ok(Place::Ascii(line(rest).ok_or_else(unsupported)?)),
        _ => Err(unsupported()),
    }
}

fn line(rest: &str) -> Option<Line<'_>> {
    let (path, query) = rest.split_once("?line=")?;
    let (speed, form) = query.split_once('+')?;
    let [data_bits, parity, stop_bits] = form.as_bytes() else {
        return None;
    };
    Some(Line {
        path,
        speed: speed.parse().ok()?,
        data_bits: data_bits.checked_sub(b'0')?,
        parity: char::from(*parity),
        stop_bits: stop_bits.checked_sub(b'0')?,
    })
}

fn call(request: &Value) -> Result<(u8, Call), Failure> {
    let name = request["call"].as_str().unwrap_or_default();
    let unit = number(request, "unit")?;
    let call = match name {
        "read_coils" => read(request, Table::Coils)?,
        "read_discrete_inputs" => read(request, Table::Discrete)?,
        "read_holding" => read(request, Table::Holding)?,
        "read_input" => read(request, Table::Input)?,
        "write_coil" => Call::WriteCoil(number(request, "address")?, truth(&request["value"])),
        "write_register" => Call::WriteRegister(number(request, "address")?, number(request, "value")?),
        "write_coils" => {
            let values = list(request, "values")?.iter().map(truth).collect();
            Call::WriteCoils(number(request, "address")?, values)
        }
        "write_registers" => Call::WriteRegisters(number(request, "address")?, registers(request)?),
        "mask_write" => Call::MaskWrite {
            address: number(request, "address")?,
            and_mask: number(request, "and_mask")?,
            or_mask: number(request, "or_mask")?,
        },
        "read_write_registers" => Call::ReadWrite {
            read_address: number(request, "read_address")?,
            count: number(request, "count")?,
            write_address: number(request, "write_address")?,
            values: registers(request)?,
        },
        "read_device_id" => Call::DeviceId { code: number(request, "code")?, object: number(request, "object")? },
        "raw" => Call::Raw(bytes(request["pdu"].as_str().unwrap_or_default())?),
        _ => return Err(Failure::new("unsupported", name)),
    };
    Ok((unit, call))
}

fn read(request: &Value, table: Table) -> Result<Call, Failure> {
    Ok(Call::Read(table, number(request, "address")?, number(request, "count")?))
}

/// A number of the request; what does not fit in the type that the crates have for it cannot be asked of them.
fn number<T: TryFrom<u64>>(request: &Value, key: &str) -> Result<T, Failure> {
    let number = request[key].as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| Failure::new("refused", format!("{key} {} does not fit", request[key])))
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_u64().is_some_and(|number| number != 0))
}

fn registers(request: &Value) -> Result<Vec<u16>, Failure> {
    let values = list(request, "values")?.iter();
    let values: Option<Vec<u16>> = values.map(|value| u16::try_from(value.as_u64()?).ok()).collect();
    values.ok_or_else(|| Failure::new("refused", "a value does not fit"))
}

fn list<'a>(request: &'a Value, key: &str) -> Result<&'a Vec<Value>, Failure> {
    request[key].as_array().ok_or_else(|| Failure::new("refused", format!("{key} is no list")))
}

fn bytes(hex: &str) -> Result<Vec<u8>, Failure> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.ok_or_else(|| Failure::new("refused", format!("{hex:?} is no PDU")))
}

fn told(answer: Answer) -> Map<String, Value> {
    object(match answer {
        Answer::Done => json!({"ok": true}),
        Answer::Values(values) => json!({"values": values}),
        Answer::Pdu(pdu) => json!({"pdu": hex(&pdu)}),
        Answer::Objects(objects) => {
            let objects = objects.into_iter().map(|(id, value)| (id.to_string(), json!(hex(&value))));
            json!({"objects": objects.collect::<Map<String, Value>>()})
        }
    })
}

fn failed(failure: &Failure) -> Map<String, Value> {
    object(json!({"error": failure.kind, "text": failure.text, "code": failure.code}))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(), // every caller gives an object
    }
}
