//! Timed sends over a pty as a program to measure, for `tests/bench`.
//!
//! usage: timed_sends
//! For each line `PERIOD_US COUNT CALLERS` on stdin it sends COUNT times eight bytes, each at its own instant, and prints
//! one line: {"class": "A", "late_ns": [issued - scheduled, ..], "commands": 0}
//! Meanwhile so many threads give commands to the same port all the time; `commands` says how many there were.

use fieldrig_engine::trace::Level;
use fieldrig_engine::{Binding, Node, PortSpec, Rig, RigOptions};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Fate, Input, Timed};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Duration, Time};
use std::error::Error;
use std::io::{BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};

/// How long a caller pauses between two commands.
const PAUSE: Duration = Duration::from_micros(100);

/// How many sends are handed out in advance.
const AHEAD: usize = 4;

/// Sends on a schedule: each at `first + n * period`, whatever became of those before.
#[derive(Default)]
struct Schedule {
    next: Time,
    period: Duration,
    left: usize,
    out: usize,
    done: usize,
    late: Vec<u64>,
    finished: bool,
}

#[derive(Clone)]
struct Finished;

impl From<Finished> for Record {
    fn from(_: Finished) -> Record {
        Record::new("schedule.finished")
    }
}

impl Endpoint for Schedule {
    type Event = Finished;

    fn handle(&mut self, _now: Time, input: Input<'_>) {
        if let Input::Timed(_, fate) = input {
            self.out -= 1;
            self.done += 1;
            if let Fate::Done(departure) = fate {
                let late = departure.issued.since(departure.scheduled).as_nanos();
                self.late.push(u64::try_from(late).unwrap_or(u64::MAX));
            }
            self.finished |= self.left == 0 && self.out == 0;
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if self.left == 0 || self.out == AHEAD {
            return None;
        }
        let begin = out.len();
        out.extend_from_slice(b"8 bytes\n");
        let (what, not_before) = (Timed::Send(begin..out.len()), self.next);
        self.next = self.next + self.period;
        self.left -= 1;
        self.out += 1;
        Some(Action::Timed { conn: Conn(0), what, not_before, gap_before: None, not_after: None })
    }

    fn poll_event(&mut self) -> Option<Finished> {
        std::mem::take(&mut self.finished).then_some(Finished)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let rig = Rig::start(RigOptions { level: Level::Counts, ..RigOptions::default() })?;
    let port = PortSpec::parse("pty://")?;
    let binding = Binding { via: "line".into(), port, protocol: None, we_are: Sender::Client };
    let node = rig.open("schedule", Schedule::default(), vec![binding])?;
    let mut reader = std::fs::File::open(node.address("line").ok_or("the pty has a name")?)?;
    // It reads what is sent, and ends with the process.
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [period, count, callers] = words[..] else { return Err("PERIOD_US COUNT CALLERS".into()) };
        let (late, commands) = measure(&rig, &node, Duration::from_micros(period), usize::try_from(count)?, callers)?;
        let class = rig.timing_class().map_or("none".to_owned(), |class| format!("{class:?}"));
        println!("{{\"class\": \"{class}\", \"late_ns\": {late:?}, \"commands\": {commands}}}");
    }
    rig.stop();
    Ok(())
}

/// How late each of them was, and how many commands there were meanwhile.
fn measure(
    rig: &Rig,
    node: &Node<Schedule>,
    period: Duration,
    count: usize,
    callers: u64,
) -> Result<(Vec<u64>, u64), Box<dyn Error>> {
    let over = AtomicBool::new(false);
    let command = || {
        let mut given = 0;
        while !over.load(Ordering::Relaxed) {
            // What it does is next to nothing: it is about getting in and out.
            given += u64::from(node.with(|schedule, _| schedule.left).is_ok());
            std::thread::sleep(PAUSE);
        }
        given
    };
    std::thread::scope(|scope| {
        let commanding: Vec<_> = (0..callers).map(|_| scope.spawn(command)).collect();
        let late = sends(rig, node, period, count);
        over.store(true, Ordering::Relaxed);
        let commands = commanding.into_iter().map(|caller| caller.join().unwrap_or(0)).sum();
        Ok((late?, commands))
    })
}

fn sends(rig: &Rig, node: &Node<Schedule>, period: Duration, count: usize) -> Result<Vec<u64>, Box<dyn Error>> {
    node.with(|schedule, now| {
        let next = now + Duration::from_millis(20);
        *schedule = Schedule { next, period, left: count, ..Schedule::default() };
    })?;
    let until = rig.now() + period * u32::try_from(count)? + Duration::from_secs(30);
    let late = node.wait(
        until,
        |schedule, events, _| events.pop_front().map(|Finished| std::mem::take(&mut schedule.late)),
        &mut || true,
    )?;
    late.ok_or_else(|| "it was not done in time".into())
}
