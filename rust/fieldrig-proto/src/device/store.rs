//! The store: the typed values of a device, with a change log that every face and the model read at their own pace.

use crate::record::Value;
use crate::time::Time;
use std::collections::VecDeque;

/// What kind of value a point holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PointKind {
    /// Truth value.
    Bool,
    /// Integer.
    Int,
    /// Real number.
    Float,
    /// Text.
    Text,
}

/// Who may change a point from outside.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// Faces may only read it.
    Read,
    /// Faces may write it.
    ReadWrite,
}

/// A point, as declared.
#[derive(Clone, PartialEq, Debug)]
pub struct PointDefinition {
    /// Its name.
    pub name: String,
    /// Kind of value.
    pub kind: PointKind,
    /// Unit, empty if it has none.
    pub unit: String,
    /// Value after power-on.
    pub initial: Value,
    /// Lowest and highest value that can be stored.
    pub range: Option<(f64, f64)>,
    /// Who may change it.
    pub access: Access,
}

/// Who changed a point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Power-on set it to its initial value.
    Reset,
    /// The test set it.
    Test,
    /// The model set it.
    Model,
    /// It came in through this face.
    Face(String),
}

/// One entry of the change log.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Number of the change, counting from 0 over the life of the store.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// Which point (index of its definition).
    pub point: usize,
    /// Value before.
    pub from: Value,
    /// Value after; equal to `from` where a write changed nothing.
    pub to: Value,
    /// Who.
    pub by: Origin,
}

/// Why a point refused a value.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum PointError {
    /// There is no such point.
    #[error("there is no point `{0}`")]
    Unknown(String),
    /// The value is of another kind.
    #[error("point `{name}` holds {kind:?} values, {value} is none")]
    Kind {
        /// Point.
        name: String,
        /// Its kind.
        kind: PointKind,
        /// What was offered.
        value: Value,
    },
    /// The value is outside the range.
    #[error("point `{name}` takes {low} to {high}, not {value}")]
    Range {
        /// Point.
        name: String,
        /// Lowest.
        low: f64,
        /// Highest.
        high: f64,
        /// What was offered.
        value: f64,
    },
    /// The point can only be read from outside.
    #[error("point `{0}` can only be read")]
    ReadOnly(String),
}

/// How many changes the log keeps; readers that fall further behind see a gap in the sequence numbers.
const LOG_LENGTH: usize = 4096;

/// The points of a device and their values.
#[derive(Clone, Debug, Default)]
pub struct PointStore {
    definitions: Vec<PointDefinition>,
    values: Vec<Value>,
    log: VecDeque<Change>,
    next_sequence: u64,
}

impl PointStore {
    /// A store with these points at their initial values. Later definitions of a name already taken are ignored;
    /// files with such a mistake are refused where they are read.
    #[must_use]
    pub fn new(definitions: Vec<PointDefinition>) -> PointStore {
        let mut store = PointStore::default();
        for definition in definitions {
            if store.index(&definition.name).is_none() {
                store.values.push(definition.initial.clone());
                store.definitions.push(definition);
            }
        }
        store
    }

    /// All points, in declared order.
    #[must_use]
    pub fn definitions(&self) -> &[PointDefinition] {
        &self.definitions
    }

    /// The index of a point.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.definitions.iter().position(|definition| definition.name == name)
    }

    /// The value of a point.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.index(name).map(|index| &self.values[index])
    }

    /// The value of point `index`.
    #[must_use]
    pub fn value_at(&self, index: usize) -> Option<&Value> {
        self.values.get(index)
    }

    /// Sets a point. Writes through a face need [`Access::ReadWrite`]. A write of the same value is logged too:
    /// that something was written is an event, whether it changed anything or not.
    ///
    /// # Errors
    /// An unknown point, a value of another kind or outside the range, a face writing a read-only point.
    pub fn set(&mut self, now: Time, name: &str, value: impl Into<Value>, by: Origin) -> Result<(), PointError> {
        let index = self.index(name).ok_or_else(|| PointError::Unknown(name.to_owned()))?;
        let value = self.checked(index, value.into(), &by)?;
        self.store(now, index, value, by);
        Ok(())
    }

    /// Says whether [`PointStore::set`] would accept the value, without setting it; gives the value as it would be stored.
    ///
    /// # Errors
    /// Those of [`PointStore::set`].
    pub fn checked(&self, index: usize, value: Value, by: &Origin) -> Result<Value, PointError> {
        let Some(definition) = self.definitions.get(index) else {
            return Err(PointError::Unknown(format!("#{index}")));
        };
        if matches!(by, Origin::Face(_)) && definition.access == Access::Read {
            return Err(PointError::ReadOnly(definition.name.clone()));
        }
        let kind_error =
            || PointError::Kind { name: definition.name.clone(), kind: definition.kind, value: value.clone() };
        let stored = match definition.kind {
            PointKind::Bool => match value.as_i64() {
                Some(0) => Value::Bool(false),
                Some(1) => Value::Bool(true),
                _ => return Err(kind_error()),
            },
            PointKind::Int => Value::from_integer(value.as_i128().ok_or_else(kind_error)?),
            PointKind::Float => Value::Float(value.as_f64().ok_or_else(kind_error)?),
            PointKind::Text => Value::Text(value.as_str().ok_or_else(kind_error)?.to_owned()),
        };
        if let (Some((low, high)), Some(number)) = (definition.range, stored.as_f64())
            && !(low..=high).contains(&number)
        {
            return Err(PointError::Range { name: definition.name.clone(), low, high, value: number });
        }
        Ok(stored)
    }

    /// Puts every point back to its initial value, as power-on does.
    pub fn reset(&mut self, now: Time) {
        for index in 0..self.definitions.len() {
            let initial = self.definitions[index].initial.clone();
            self.store(now, index, initial, Origin::Reset);
        }
    }

    /// The number the next change will have: a cursor from which to read on.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.next_sequence
    }

    /// The changes from number `cursor` on, oldest first.
    pub fn changes_since(&self, cursor: u64) -> impl Iterator<Item = &Change> {
        // Sequence numbers in the log have no gaps.
        let first = self.next_sequence - self.log.len() as u64;
        let skipped = usize::try_from(cursor.saturating_sub(first)).unwrap_or(usize::MAX).min(self.log.len());
        self.log.range(skipped..)
    }

    fn store(&mut self, now: Time, index: usize, value: Value, by: Origin) {
        let from = std::mem::replace(&mut self.values[index], value.clone());
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.log.push_back(Change { sequence, at: now, point: index, from, to: value, by });
    }
}
