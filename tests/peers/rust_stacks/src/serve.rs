//! Servers of both stacks. Each prints its port, or "ready" on a serial port, and ends when standard input does.

use crate::client::Line;
use crate::tokio_stack::Device;
use crate::voltage_stack::{Bounded, bank};
use std::future::Future;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::server::{rtu, rtu_over_tcp, tcp};
use voltage_modbus::server::{DeviceIdentity, ModbusService};
use voltage_modbus::{ModbusRtuServer, ModbusServer as _, ModbusTcpServer};

const ANYWHERE: &str = "127.0.0.1:0";
type Text = Result<(), String>;

/// The server of the conversation.
pub async fn server(stack: &str, transport: &str, path: &str) -> Text {
    match (stack, transport) {
        ("tokio-modbus", "tcp") => tokio_tcp(false).await,
        ("tokio-modbus", "rtu+tcp") => tokio_rtu_over_tcp().await,
        ("tokio-modbus", "rtu") => tokio_rtu(path).await,
        ("voltage_modbus", "tcp") => voltage_tcp(Arc::new(Bounded(bank()))).await,
        ("voltage_modbus", "rtu") => voltage_rtu(path).await,
        _ => Err(format!("no server of {stack} on {transport}")),
    }
}

/// The server that the suite judges: nothing of ours in front of what a crate brings along.
pub async fn judged(stack: &str) -> Text {
    match stack {
        "tokio-modbus" => tokio_tcp(false).await,
        "voltage_modbus" => voltage_tcp(bank()).await,
        _ => Err(format!("no stack {stack}")),
    }
}

/// The server of the benchmark: as above, and with TCP_NODELAY where the crate lets its user set it.
pub async fn bench_server(stack: &str) -> Text {
    match stack {
        "tokio-modbus" => tokio_tcp(true).await,
        _ => judged(stack).await,
    }
}

async fn tokio_tcp(no_delay: bool) -> Text {
    let listener = listening().await?;
    say_port(&listener)?;
    let device = Device::new(false);
    let connected = |stream: TcpStream, from: SocketAddr| {
        let accepted = configured(&stream, no_delay)
            .and_then(|()| tcp::accept_tcp_connection(stream, from, |_| Ok(Some(device.clone()))));
        async { accepted }
    };
    let said = tcp::Server::new(listener).serve(&connected, complain).await;
    said.map_err(|error| error.to_string())
}

fn configured(stream: &TcpStream, no_delay: bool) -> std::io::Result<()> {
    if no_delay { stream.set_nodelay(true) } else { Ok(()) }
}

async fn tokio_rtu_over_tcp() -> Text {
    let listener = listening().await?;
    say_port(&listener)?;
    let device = Device::new(true);
    let connected = |stream: TcpStream, from: SocketAddr| {
        let accepted = rtu_over_tcp::accept_tcp_connection(stream, from, |_| Ok(Some(device.clone())));
        async { accepted }
    };
    let said = rtu_over_tcp::Server::new(listener).serve(&connected, complain).await;
    said.map_err(|error| error.to_string())
}

async fn tokio_rtu(path: &str) -> Text {
    let port = tokio_serial::SerialStream::open(&Line::usual(path).builder());
    let port = port.map_err(|error| error.to_string())?;
    say("ready");
    let said = rtu::Server::new(port).serve_forever(Device::new(true)).await;
    said.map_err(|error| error.to_string())
}

async fn voltage_tcp(service: Arc<dyn ModbusService>) -> Text {
    let address = free_address()?; // it cannot be asked which port it was given
    let mut server = ModbusTcpServer::new(&address.to_string()).map_err(|error| error.to_string())?;
    server.set_service(service);
    server.set_device_identity(DeviceIdentity::basic("voltage_modbus", "server", "1.1.0").with_object(4, b"interop"));
    server.start().await.map_err(|error| error.to_string())?;
    say(&address.port().to_string());
    forever().await
}

async fn voltage_rtu(path: &str) -> Text {
    let line = Line::usual(path);
    let mut server = ModbusRtuServer::new(path, line.speed).map_err(|error| error.to_string())?;
    server.set_service(Arc::new(Bounded(bank())));
    server.start().await.map_err(|error| error.to_string())?;
    say("ready");
    forever().await
}

fn complain(error: std::io::Error) {
    eprintln!("a connection ended: {error}");
}

async fn listening() -> Result<TcpListener, String> {
    TcpListener::bind(ANYWHERE).await.map_err(|error| format!("cannot listen: {error}"))
}

fn free_address() -> Result<SocketAddr, String> {
    let probe = std::net::TcpListener::bind(ANYWHERE).and_then(|probe| probe.local_addr());
    probe.map_err(|error| format!("no free port: {error}"))
}

fn say_port(listener: &TcpListener) -> Text {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    say(&address.port().to_string());
    Ok(())
}

/// Prints a line, and ends the program when standard input ends.
fn say(line: &str) {
    println!("{line}");
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest); // an error is an end, too
        std::process::exit(0);
    });
}

fn forever<T>() -> impl Future<Output = T> {
    std::future::pending()
}
