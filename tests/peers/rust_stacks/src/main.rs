//! Foreign Modbus stacks, each as a client, a server, a benchmark of both, and a driver for the suite of clients.
//!
//! ```text
//! rust_stacks client STACK TRANSPORT ADDRESS    one conversation; prints what came of it as JSON (conversation.rs)
//! rust_stacks server STACK TRANSPORT [PATH]     unit 1; prints its port, or "ready"
//! rust_stacks judged STACK                      a TCP server as the crate is meant to be used; prints its port
//! rust_stacks driver STACK                      speaks the driver protocol of suite modbus_client (driver.rs)
//! rust_stacks bench_client STACK PORT DEPTH     what tests/bench/anchors/raw_client.c does (bench.rs)
//! rust_stacks bench_server STACK                what tests/bench/anchors/raw_server.c does
//! rust_stacks line PATH ROUNDS                  opens and closes a serial port with tokio-serial (line.rs)
//! ```
//! STACK is `tokio-modbus` or `voltage_modbus`; TRANSPORT is `tcp`, `rtu`, `rtu+tcp` or `ascii`, as far as the stack has it.
//!
//! Rules: nothing here checks, retries or repairs what a stack does not, because the stacks are what is judged. Servers
//! end when their standard input does. One thread runs everything: the benchmark gives each process one CPU.

mod bench;
mod call;
mod client;
mod conversation;
mod driver;
mod line;
mod memory;
mod serve;
mod tokio_stack;
mod voltage_stack;

use std::process::ExitCode;

const USAGE: &str = "usage: rust_stacks client STACK TRANSPORT ADDRESS | server STACK TRANSPORT [PATH] | judged STACK \
                     | driver STACK | bench_client STACK PORT DEPTH | bench_server STACK | line PATH ROUNDS";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("rust_stacks: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    match *words {
        ["client", stack, transport, address] => runtime.block_on(conversation::hold(stack, transport, address)),
        ["server", stack, transport] => runtime.block_on(serve::server(stack, transport, "")),
        ["server", stack, transport, path] => runtime.block_on(serve::server(stack, transport, path)),
        ["judged", stack] => runtime.block_on(serve::judged(stack)),
        ["driver", stack] => driver::serve(&runtime, stack),
        ["bench_client", stack, port, depth] => runtime.block_on(bench::client(stack, port, depth)),
        ["bench_server", stack] => runtime.block_on(serve::bench_server(stack)),
        ["line", path, rounds] => runtime.block_on(line::rounds(path, rounds)),
        _ => Err(USAGE.into()),
    }
}
