//! What the host does to us: a stopped process is noticed.

use fieldrig_engine::{Rig, RigOptions};
use fieldrig_proto::time::Duration;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The child of the test below: says when it is ready, waits for a line, says whether a stall was noticed since.
#[test]
#[ignore = "run by the test below, as a process of its own"]
fn child() {
    let rig = Rig::start(RigOptions::default()).expect("a rig");
    let ready = rig.now();
    println!("\nready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
    let stalls = rig.sentinel_stalls(ready);
    let longest = stalls.iter().map(fieldrig_engine::Stall::length).max().unwrap_or_default();
    println!("\nlongest {}", longest.as_millis());
    rig.stop();
}

#[test]
fn a_stopped_process_knows_afterwards_that_it_stood_still() {
    let this = std::env::current_exe().expect("the test program");
    let mut process = Command::new(this)
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let pid = process.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    let mut input = process.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.expect("text") == "ready"));
    signal("-STOP");
    let stopped = std::time::Instant::now();
    while stopped.elapsed() < Duration::from_millis(200) {
        // The length of the stall is what is tested, so it has to pass.
        std::thread::park_timeout(Duration::from_millis(200));
    }
    signal("-CONT");
    input.write_all(b"\n").expect("a pipe");
    let longest = lines.find_map(|line| line.expect("text").strip_prefix("longest ").map(str::to_owned));
    let longest: u64 = longest.and_then(|text| text.parse().ok()).expect("a number");
    assert!(longest >= 190, "the longest stall was {longest} ms");
    assert!(process.wait().expect("it ends").success());
}
