//! One conversation, the same as of tests/interop/stacks/client.py; prints what came of it.
//!
//! It reads holding registers 100 to 102, writes 99 to register 101, 7 and 8 to 102 and 103, reads 100 to 103, sets coil 1,
//! reads coils 0 to 2, and asks for register 5000, which is not there.

use crate::call::{Answer, Call, Failure, Table};
use crate::client::{Client, Line, Place, resolve};
use crate::memory::UNIT;
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

pub async fn hold(stack: &str, transport: &str, address: &str) -> Result<(), String> {
    let said = converse(stack, transport, address).await;
    println!("{}", said.map_err(|failure| format!("{}: {}", failure.kind, failure.text))?);
    Ok(())
}

async fn converse(stack: &str, transport: &str, address: &str) -> Result<serde_json::Value, Failure> {
    let mut client = Client::open(stack, place(transport, address)?, PATIENCE).await?;
    let first = values(&mut client, Call::Read(Table::Holding, 100, 3)).await?;
    client.call(UNIT, &Call::WriteRegister(101, 99)).await?;
    client.call(UNIT, &Call::WriteRegisters(102, vec![7, 8])).await?;
    let then = values(&mut client, Call::Read(Table::Holding, 100, 4)).await?;
    client.call(UNIT, &Call::WriteCoil(1, true)).await?;
    let coils = values(&mut client, Call::Read(Table::Coils, 0, 3)).await?;
    let coils: Vec<bool> = coils.into_iter().map(|coil| coil != 0).collect();
    let exception = match client.call(UNIT, &Call::Read(Table::Holding, 5000, 1)).await {
        Err(Failure { code: Some(code), .. }) => code,
        other => return Err(Failure::new("other", format!("register 5000 gave {other:?}"))),
    };
    Ok(json!({"first": first, "then": then, "coils": coils, "exception": exception}))
}

fn place<'a>(transport: &str, address: &'a str) -> Result<Place<'a>, Failure> {
    Ok(match transport {
        "tcp" => Place::Tcp(resolve(address)?),
        "rtu+tcp" => Place::RtuOverTcp(resolve(address)?),
        "rtu" => Place::Rtu(Line::usual(address)),
        "ascii" => Place::Ascii(Line::usual(address)),
        _ => return Err(Failure::new("unsupported", format!("no transport {transport}"))),
    })
}

async fn values(client: &mut Client, call: Call) -> Result<Vec<u16>, Failure> {
    match client.call(UNIT, &call).await? {
        Answer::Values(values) => Ok(values),
        other => Err(Failure::new("other", format!("a read gave {other:?}"))),
    }
}
