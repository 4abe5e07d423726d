//! A client of either stack, opened on any transport that the stack has.

use crate::call::{Answer, Call, Failure};
use crate::{tokio_stack, voltage_stack};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

/// A serial line: path, speed, data bits, parity (N, E, O) and stop bits.
pub struct Line<'a> {
    pub path: &'a str,
    pub speed: u32,
    pub data_bits: u8,
    pub parity: char,
    pub stop_bits: u8,
}

impl<'a> Line<'a> {
    /// The line of the conversation: 19200 8N1.
    pub fn usual(path: &'a str) -> Self {
        Self { path, speed: 19200, data_bits: 8, parity: 'N', stop_bits: 1 }
    }

    pub fn builder(&self) -> tokio_serial::SerialPortBuilder {
        tokio_serial::new(self.path, self.speed)
            .data_bits(self.data_bits())
            .parity(self.parity())
            .stop_bits(self.stop_bits())
    }

    pub fn data_bits(&self) -> tokio_serial::DataBits {
        if self.data_bits == 7 { tokio_serial::DataBits::Seven } else { tokio_serial::DataBits::Eight }
    }

    pub fn parity(&self) -> tokio_serial::Parity {
        match self.parity {
            'E' => tokio_serial::Parity::Even,
            'O' => tokio_serial::Parity::Odd,
            _ => tokio_serial::Parity::None,
        }
    }

    pub fn stop_bits(&self) -> tokio_serial::StopBits {
        if self.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One }
    }
}

/// Where a server is, and what is spoken there.
pub enum Place<'a> {
    Tcp(SocketAddr),
    RtuOverTcp(SocketAddr),
    Rtu(Line<'a>),
    Ascii(Line<'a>),
}

/// Resolves `HOST:PORT`.
pub fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let mut found = address.to_socket_addrs().map_err(|error| Failure::new("refused", error))?;
    found.next().ok_or_else(|| Failure::new("refused", format!("{address} has no address")))
}

pub enum Client {
    TokioModbus(tokio_stack::Client),
    Voltage(Box<voltage_stack::Client>),
}

impl Client {
    pub async fn open(stack: &str, place: Place<'_>, timeout: Duration) -> Result<Self, Failure> {
        match stack {
            "tokio-modbus" => tokio_stack::Client::open(place, timeout).await.map(Self::TokioModbus),
            "voltage_modbus" => {
                voltage_stack::Client::open(place, timeout).await.map(|client| Self::Voltage(Box::new(client)))
            }
            _ => Err(Failure::new("unsupported", format!("no stack {stack}"))),
        }
    }

    pub async fn call(&mut self, unit: u8, call: &Call) -> Result<Answer, Failure> {
        match self {
            Self::TokioModbus(client) => client.call(unit, call).await,
            Self::Voltage(client) => client.call(unit, call).await,
        }
    }

    /// Several calls in flight at the same time.
    pub async fn together(&mut self, calls: &[(u8, Call)]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        match self {
            Self::Voltage(client) => client.together(calls).await,
            Self::TokioModbus(_) => Err(Failure::new("unsupported", "a client has one call at a time")),
        }
    }
}
