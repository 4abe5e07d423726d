//! A serial port of tokio-serial that comes and goes, as its manual opens one.
//!
//! Each round opens the port at 9600 8E1, writes `pingN`, reads five bytes, closes, and prints what it read; the next one
//! begins when a line comes on standard input.

use std::io::BufRead;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{Parity, SerialPortBuilderExt};

/// So many rounds on the port at `path`.
pub async fn rounds(path: &str, count: &str) -> Result<(), String> {
    let count: u32 = count.parse().map_err(|_| format!("`{count}` is no number of rounds"))?;
    let mut lines = std::io::stdin().lock().lines();
    for number in 0..count {
        println!("{}", round(path, number).await.map_err(|error| format!("round {number}: {error}"))?);
        if lines.next().is_none() {
            return Ok(());
        }
    }
    Ok(())
}

async fn round(path: &str, number: u32) -> Result<String, String> {
    let builder = tokio_serial::new(path, 9600).parity(Parity::Even);
    let mut port = builder.open_native_async().map_err(|error| format!("open: {error}"))?;
    port.write_all(format!("ping{number}").as_bytes()).await.map_err(|error| format!("write: {error}"))?;
    let mut answer = [0; 5];
    port.read_exact(&mut answer).await.map_err(|error| format!("read: {error}"))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
