//! What a wire without real devices is like: `emulated = { echo = .., driver_off = .., seed = .., faults = [..] }`.
//!
//! Rules of this file:
//! - It is true of the wire in memory that stands for the link; a real wire has a nature of its own.
//! - A fault of the file stands in every test: what a test sets, and ends, comes on top of it.

use super::keys;
use super::place::{Outcome, Place};
use super::section::{Located, Section};
use super::tree::{Data, Node};
use crate::WireOptions;
use crate::link::{ByteFault, Disturbance, Way};
use fieldrig_proto::fault::Schedule;
use fieldrig_proto::line::{LineSettings, Parity};
use fieldrig_proto::time::Duration;

/// What a wire in memory is like, besides its speed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WireNature {
    /// Who asks hears itself.
    pub echo: bool,
    /// So long a driver is on before the first bit.
    pub driver_on: Duration,
    /// So long a driver stays on after the last bit.
    pub driver_off: Duration,
    /// What faults are drawn from.
    pub seed: u64,
    /// What disturbs it from the start.
    pub faults: Vec<(Vec<Way>, ByteFault)>,
}

impl WireNature {
    /// How the wire is made.
    pub(super) fn options(&self, line: Option<LineSettings>, full_duplex: bool) -> WireOptions {
        let WireNature { echo, driver_on, driver_off, seed, .. } = *self;
        WireOptions { line, full_duplex, echo, driver_on, driver_off, seed }
    }
}

const WAYS: [(&str, Way); 2] = [("requests", Way::Forth), ("responses", Way::Back)];

/// Reads the keys; `None` if none of them is there.
///
/// # Errors
/// A key cannot hold what it holds.
pub(super) fn read(section: &mut Section<'_>) -> Outcome<Option<Located<WireNature>>> {
    let names = ["echo", "driver_on", "driver_off", "seed", "faults"];
    let place = names.iter().find(|name| section.has(name)).map(|name| section.locate(name));
    let nature = WireNature {
        echo: section.truth("echo")?.unwrap_or_default(),
        driver_on: section.duration("driver_on")?.unwrap_or_default(),
        driver_off: section.duration("driver_off")?.unwrap_or_default(),
        seed: section.integer("seed", 0, i64::MAX)?.map_or(0, i64::unsigned_abs),
        faults: faults(section)?,
    };
    Ok(place.map(|place| Located { value: nature, place }))
}

/// Whether the line can have all of it.
///
/// # Errors
/// There is a fault that this line cannot have.
pub(super) fn check(nature: &Located<WireNature>, line: &LineSettings) -> Outcome<()> {
    let parity = nature.value.faults.iter().any(|(_, fault)| fault.what == Disturbance::Parity);
    match parity && line.parity == Parity::None {
        true => Err(nature.place.error(format!("the fault `parity` needs a parity bit, and the line is {line}"))),
        false => Ok(()),
    }
}

fn faults(section: &mut Section<'_>) -> Outcome<Vec<(Vec<Way>, ByteFault)>> {
    let name = section.inner_name("faults");
    let Some(node) = section.node("faults") else { return Ok(Vec::new()) };
    let Data::List(nodes) = &node.data else {
        let hint = "write faults = [{ fault = \"bits\", p = 1e-5 }]";
        return Err(node.place.error(format!("{name} is {}, a list of tables is expected", node.kind())).hint(hint));
    };
    nodes.iter().map(|node| fault(Section::of(node, name.as_str())?)).collect()
}

fn fault(mut section: Section<'_>) -> Outcome<(Vec<Way>, ByteFault)> {
    let words: Vec<(&str, &str)> = Disturbance::NAMES.iter().map(|name| (*name, *name)).collect();
    let word = section.word("fault", &words)?;
    let word = section.require("fault", word)?;
    let way = section.word("direction", &WAYS)?;
    let schedule = Schedule {
        probability: probability(&mut section)?,
        count: section.integer("count", 1, i64::MAX)?.map(i64::unsigned_abs),
        after: section.integer("after", 0, i64::MAX)?.map_or(0, i64::unsigned_abs),
        ..Schedule::default()
    };
    let delay = section.duration("delay")?;
    section.finish(&keys::FAULT)?;
    let what = Disturbance::named(word, delay).map_err(|problem| wrong(&section.locate("fault"), &problem))?;
    Ok((way.map_or_else(|| Way::BOTH.to_vec(), |way| vec![way]), ByteFault { what, schedule }))
}

fn wrong(place: &Place, problem: &impl ToString) -> super::BenchFileError {
    place.error(problem.to_string())
}

/// A probability; 1 if there is none.
fn probability(section: &mut Section<'_>) -> Outcome<f64> {
    let place = section.locate("p");
    let given = match section.node("p") {
        None => return Ok(1.0),
        Some(Node { data: Data::Float(value), .. }) => *value,
        Some(Node { data: Data::Int(0), .. }) => 0.0,
        Some(Node { data: Data::Int(1), .. }) => 1.0,
        Some(node) => {
            let what = if let Data::Int(value) = node.data { value.to_string() } else { node.kind().to_owned() };
            return Err(place.error(format!("`p` in {} is {what}, a number from 0 to 1 is expected", section.name)));
        }
    };
    match (0.0..=1.0).contains(&given) {
        true => Ok(given),
        false => Err(place.error(format!("`p` in {} is {given}, a number from 0 to 1 is expected", section.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::section::is_described_by;

    #[test]
    fn the_words_of_a_direction_are_those_of_the_schema() {
        assert!(is_described_by(&WAYS, &keys::Kind::Word(&keys::DIRECTIONS)));
    }
}
