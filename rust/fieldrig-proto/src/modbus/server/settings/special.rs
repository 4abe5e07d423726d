//! The settings of the functions that touch none of the four tables.

use super::{address, error, integer, range_values, shown};
use crate::modbus::pdu::MAX_PDU;
use crate::modbus::server::files::Fifos;
use crate::modbus::server::identification::Identification;
use crate::modbus::server::special::Extras;
use crate::protocol::{SettingError, Settings, setting};
use crate::record::Value;
use std::collections::BTreeMap;

/// The longest server id: a PDU less function, byte count and run indicator (AP 6.13).
const MAX_SERVER_ID: usize = MAX_PDU - 3;

/// What a unit holds besides its tables.
///
/// # Errors
/// What is out of range or cannot be sent, with its key.
pub(super) fn extras_of(settings: &Settings) -> Result<Extras, SettingError> {
    let mut extras = Extras::default();
    if let Some(value) = setting(settings, "exception_status") {
        extras.exception_status = integer("exception_status", value, 0, 0xff)? as u8;
    }
    if let Some(value) = setting(settings, "diagnostic_register") {
        extras.diagnostic_register = integer("diagnostic_register", value, 0, 0xffff)? as u16;
    }
    if let Some(value) = setting(settings, "server_id") {
        extras.server_id = octets("server_id", value)?;
        if extras.server_id.len() > MAX_SERVER_ID {
            let length = extras.server_id.len();
            return Err(error("server_id", format!("it has {length} bytes, at most {MAX_SERVER_ID} fit into a PDU")));
        }
    }
    if let Some(value) = setting(settings, "files") {
        add_files(&mut extras, value)?;
    }
    if let Some(value) = setting(settings, "fifos") {
        extras.fifos = fifos(value)?;
    }
    extras.identification = identification(settings)?;
    Ok(extras)
}

fn table<'a>(key: &str, value: &'a Value) -> Result<&'a [(String, Value)], SettingError> {
    match value {
        Value::Table(entries) => Ok(entries),
        other => Err(error(key, format!("it must be a table, not {}", shown(other)))),
    }
}

fn registers(key: &str, value: &Value) -> Result<Vec<u16>, SettingError> {
    Ok(range_values(key, value, 0xffff)?.into_iter().map(|value| value as u16).collect())
}

fn add_files(extras: &mut Extras, value: &Value) -> Result<(), SettingError> {
    for (name, records) in table("files", value)? {
        let key = format!("files.{name}");
        let file = address(&key, name, 1, 0xffff)? as u16;
        let mut put = |key: String, record: u16, values: &[u16]| {
            extras.files.put(file, record, values).map_err(|problem| error(key, problem))
        };
        match records {
            Value::Table(ranges) if records.entry("count").is_none() => {
                for (start, values) in ranges {
                    let key = format!("{key}.{start}");
                    let record = address(&key, start, 0, 0x270f)? as u16;
                    let values = registers(&key, values)?;
                    put(key, record, &values)?;
                }
            }
            other => {
                let values = registers(&key, other)?;
                put(key, 0, &values)?;
            }
        }
    }
    Ok(())
}

fn fifos(value: &Value) -> Result<Fifos, SettingError> {
    let queue = |(name, values): &(String, Value)| {
        let key = format!("fifos.{name}");
        Ok((address(&key, name, 0, 0xffff)? as u16, registers(&key, values)?))
    };
    table("fifos", value)?.iter().map(queue).collect()
}

fn identification(settings: &Settings) -> Result<Option<Identification>, SettingError> {
    let level = setting(settings, "conformity").map(|value| integer("conformity", value, 0, 0xff)).transpose()?;
    let Some(value) = setting(settings, "identification") else {
        return match level {
            Some(_) => Err(error("conformity", "there is no `identification` to show".to_owned())),
            None => Ok(None),
        };
    };
    let mut objects = BTreeMap::new();
    for (name, text) in table("identification", value)? {
        let key = format!("identification.{name}");
        let object = address(&key, name, 0, 0xff)? as u8;
        objects.insert(object, octets(&key, text)?);
    }
    let identification = Identification::new(objects, level.map(|level| level as u8));
    identification.map(Some).map_err(|problem| {
        let key = if problem.starts_with("conformity") { "conformity" } else { "identification" };
        error(key, problem)
    })
}

/// A text or bytes; in files, a list of integers too.
fn octets(key: &str, value: &Value) -> Result<Vec<u8>, SettingError> {
    match value {
        Value::Text(text) => Ok(text.clone().into_bytes()),
        Value::Bytes(bytes) => Ok(bytes.clone()),
        Value::List(items) => items.iter().map(|item| integer(key, item, 0, 0xff).map(|byte| byte as u8)).collect(),
        other => Err(error(key, format!("it must be a text, not {}", shown(other)))),
    }
}
