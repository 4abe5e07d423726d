//! Feeds random and mutated bytes to everything that reads bytes: `make fuzz-smoke`.
//!
//! ```text
//! fuzz_smoke [INPUTS]        ten million by default; FUZZ_SEED=N chooses another sequence
//! ```
//!
//! Each target ([`targets`]) gets the same share of the inputs, in units with a seed of their own, so that a failure is
//! found again whatever the number of threads. A panic, an endpoint that makes no progress and an endpoint that
//! produces without end all fail the run; the target, the seed of the unit and the last input are printed.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a program around the library, not a part of it: it measures time and prints"
)]

mod endpoints;
mod inputs;
mod targets;

use fieldrig_proto::dissect::hex;
use fieldrig_proto::fault::Chance;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use targets::Target;

const UNIT: u64 = 10_000;

/// What all threads share.
struct Run {
    targets: Vec<Target>,
    units: u64,
    seed: u64,
    next: AtomicU64,
    done: AtomicU64,
    failures: Mutex<Vec<String>>,
}

fn main() -> ExitCode {
    let Some((inputs, seed)) = arguments() else {
        eprintln!("usage: fuzz_smoke [INPUTS]   (FUZZ_SEED=N in the environment)");
        return ExitCode::from(2);
    };
    let targets = targets::all();
    let count = targets.len() as u64;
    let each = inputs.div_ceil(UNIT).div_ceil(count);
    let run = Run {
        targets,
        units: each * count,
        seed,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        failures: Mutex::new(Vec::new()),
    };
    let begin = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&run));
        }
    });
    let failures = run.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failures.is_empty() {
        for target in &run.targets {
            println!("fuzz-smoke: {:>9} inputs  {}", each * UNIT, target.name);
        }
    }
    println!(
        "fuzz-smoke: {} inputs, {} targets, seed {seed}, {} failures, {:.1} s",
        run.done.into_inner() * UNIT,
        run.targets.len(),
        failures.len(),
        begin.elapsed().as_secs_f64()
    );
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments() -> Option<(u64, u64)> {
    let inputs = match std::env::args().nth(1) {
        Some(text) => text.parse().ok()?,
        None => 10_000_000,
    };
    let seed = match std::env::var("FUZZ_SEED") {
        Ok(text) => text.parse().ok()?,
        Err(_) => 1,
    };
    Some((inputs, seed))
}

/// Takes units until none is left, or until a failure was found.
fn work(run: &Run) {
    loop {
        let unit = run.next.fetch_add(1, Ordering::Relaxed);
        if unit >= run.units {
            return;
        }
        let target = &run.targets[(unit % run.targets.len() as u64) as usize];
        if let Some(failure) = run_unit(target, run.seed.wrapping_add(unit << 8)) {
            run.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            return;
        }
        run.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// One unit; the text of its failure, if it fails.
fn run_unit(target: &Target, seed: u64) -> Option<String> {
    let mut chance = Chance::seeded(seed);
    let mut last = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut eat = (target.make)();
        for _ in 0..UNIT {
            inputs::next(target.samples, &mut chance, &mut last);
            eat(&last, &mut chance);
        }
    }));
    let panic = outcome.err()?;
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    let what = text.unwrap_or("a panic without a text");
    Some(format!("fuzz-smoke: {} fails with unit seed {seed}: {what}\n  last input: {}", target.name, hex(&last)))
}
