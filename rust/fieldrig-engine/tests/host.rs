//! What the host does to us: a stopped process is noticed.

use fieldrig_engine::{Rig, RigOptions, Stall, StallKind};
use fieldrig_proto::time::Duration;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// The child of the tests below: says when it is ready; for each line it reads it says for how long it was stopped since
/// the line before, and how long the longest stall was (milliseconds).
#[test]
#[ignore = "run by the test below, as a process of its own"]
fn child() {
    let rig = Rig::start(RigOptions::default()).expect("a rig");
    let mut since = rig.now();
    println!("\nready");
    for line in std::io::stdin().lines() {
        line.expect("a line");
        let stalls = rig.sentinel_stalls(since);
        since = rig.now();
        let stopped = stalls.iter().filter(|stall| stall.kind == StallKind::Stopped).map(Stall::length);
        let longest = stalls.iter().map(Stall::length).max().unwrap_or_default();
        println!("\nstopped {} longest {}", stopped.sum::<Duration>().as_millis(), longest.as_millis());
    }
    rig.stop();
}

/// A process of its own that can be stopped.
struct Stoppable {
    process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stoppable {
    fn start() -> Stoppable {
        let mut process = Command::new(std::env::current_exe().expect("the test program"))
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = process.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.expect("text") == "ready"));
        Stoppable { process, input, lines }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// Stops it for at least so many milliseconds; for how many it says it was stopped, and its longest stall.
    fn stop_for(&mut self, millis: u64) -> (u64, u64) {
        self.signal("-STOP");
        let stopped = Instant::now();
        while stopped.elapsed() < Duration::from_millis(millis) {
            // The length of the stall is what is tested, so it has to pass.
            std::thread::park_timeout(Duration::from_millis(millis));
        }
        self.signal("-CONT");
        self.input.write_all(b"\n").expect("a pipe");
        let text = self.lines.find_map(|line| line.expect("text").strip_prefix("stopped ").map(str::to_owned));
        let text = text.expect("an answer");
        let (stopped, longest) = text.split_once(" longest ").expect("two numbers");
        (stopped.parse().expect("a number"), longest.parse().expect("a number"))
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.process.wait().expect("it ends").success());
    }
}

#[test]
fn a_stopped_process_knows_afterwards_that_it_stood_still() {
    let mut child = Stoppable::start();
    let (_, longest) = child.stop_for(200);
    assert!(longest >= 190, "the longest stall was {longest} ms");
    child.end();
}

#[test]
fn a_stop_of_20_ms_is_told_from_a_busy_host() {
    let mut child = Stoppable::start();
    // Where the sentinel has no real-time scheduling, a host that is busy at that very moment may hide one.
    let seen = (0..20).find(|_| child.stop_for(20).0 >= 19);
    assert!(seen.is_some(), "none of twenty was seen as a stop");
    child.end();
}
