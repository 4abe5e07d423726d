//! Messages to bytes: typed, so that they cannot be wrong, or wrong on purpose.
//!
//! Rules of this file:
//! - Each field of a message needs a value, unless it has a default, is constant, or follows from others: tags from the
//!   message, the sequence number from the caller, counts from what they count, lengths and checksums from the bytes.
//! - A patch comes last and is not checked against anything: the bytes or the number of a field (`"wrong"`: other than
//!   right), other markers, no escapes, a payload of its own, bytes missing or added. A patched field is covered by the
//!   checksum like any other; a patched checksum is what it is.

use super::definition::{Definition, MessageShape};
use super::field::{Field, Role};
use super::layout::Layout;
use crate::line::framing::{Notation, Wrap};
use crate::reader::did_you_mean;
use crate::record::Value;
use std::ops::Range;

/// Why a message cannot be sent as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct EncodeError {
    /// What is wrong.
    pub problem: String,
    /// A remedy.
    pub hint: Option<String>,
}

impl EncodeError {
    pub(super) fn new(problem: impl Into<String>) -> EncodeError {
        EncodeError { problem: problem.into(), hint: None }
    }
}

/// A frame, made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// As it goes over the wire.
    pub bytes: Vec<u8>,
    /// What stands between its markers.
    pub body: Vec<u8>,
}

/// What is wrong on purpose.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Patch {
    /// Fields and what they hold.
    fields: Vec<(String, Value)>,
    wrap: Wrap,
    payload: Option<Vec<u8>>,
    cut: usize,
    prepend: Vec<u8>,
    append: Vec<u8>,
}

/// What a patch has besides fields; no field may have such a name.
pub(super) const PATCHES: [&str; 7] = ["start", "end", "plain", "payload", "cut", "prepend", "append"];

impl Patch {
    /// A patch from its entries.
    ///
    /// # Errors
    /// An entry that is none, with what is expected.
    pub fn read(definition: &Definition, entries: &[(String, Value)]) -> Result<Patch, EncodeError> {
        let mut patch = Patch::default();
        for (key, value) in entries {
            let bytes = || match value {
                Value::Bytes(bytes) => Ok(bytes.clone()),
                _ => Err(EncodeError::new(format!("the patch `{key}` takes bytes, not {value}"))),
            };
            match key.as_str() {
                "start" => patch.wrap.start = Some(bytes()?),
                "end" => patch.wrap.end = Some(bytes()?),
                "plain" => {
                    let Value::Bool(plain) = value else {
                        return Err(EncodeError::new(format!("the patch `plain` is True or False, not {value}")));
                    };
                    patch.wrap.plain = *plain;
                }
                "payload" => patch.payload = Some(bytes()?),
                "prepend" => patch.prepend = bytes()?,
                "append" => patch.append = bytes()?,
                "cut" => {
                    let count = value.as_i64().and_then(|count| usize::try_from(count).ok());
                    patch.cut = count.ok_or_else(|| {
                        EncodeError::new(format!("the patch `cut` takes a number of bytes, not {value}"))
                    })?;
                }
                _ => patch.fields.push((key.clone(), value.clone())),
            }
        }
        match patch.fields.iter().find(|(name, _)| !definition.has_field(name)) {
            None => Ok(patch),
            Some((name, _)) => Err(EncodeError {
                problem: format!("there is no field `{name}` to be patched"),
                hint: did_you_mean(name, definition.field_names().chain(PATCHES)),
            }),
        }
    }

    fn of(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A body in the making.
struct Making<'a> {
    definition: &'a Definition,
    shape: &'a MessageShape,
    values: &'a [(String, Value)],
    sequence: u64,
    patch: &'a Patch,
    body: Vec<u8>,
    places: Vec<(&'a Field, Range<usize>)>,
}

impl Definition {
    /// The names of all fields, those of the header first.
    pub(super) fn field_names(&self) -> impl Iterator<Item = &str> + Clone {
        let layouts =
            [&self.header, &self.trailer].into_iter().chain(self.messages.iter().map(|message| &message.fields));
        layouts.flat_map(|layout| layout.fields.iter().map(|field| field.name.as_str()))
    }

    fn has_field(&self, name: &str) -> bool {
        self.field_names().any(|known| known == name)
    }

    /// The frame of a message.
    ///
    /// # Errors
    /// An unknown message or field, a missing or impossible value.
    pub fn encode(
        &self,
        name: &str,
        values: &[(String, Value)],
        sequence: u64,
        patch: &Patch,
    ) -> Result<Encoded, EncodeError> {
        let shape = self.message(name).ok_or_else(|| EncodeError {
            problem: format!("{} has no message `{name}`", self.name),
            hint: did_you_mean(name, self.messages.iter().map(|message| message.name.as_str())),
        })?;
        let mut making =
            Making { definition: self, shape, values, sequence, patch, body: Vec::new(), places: Vec::new() };
        making.check_names()?;
        making.layout(&self.header)?;
        match &patch.payload {
            Some(payload) => making.body.extend_from_slice(payload),
            None => making.layout(&shape.fields)?,
        }
        making.layout(&self.trailer)?;
        making.seal()?;
        let Making { body, .. } = making;
        let mut bytes = self.framing.wrap(&body, &patch.wrap);
        bytes.truncate(bytes.len().saturating_sub(patch.cut));
        Ok(Encoded { bytes: [patch.prepend.as_slice(), &bytes, &patch.append].concat(), body })
    }
}

impl<'a> Making<'a> {
    fn check_names(&self) -> Result<(), EncodeError> {
        let layouts = [&self.definition.header, &self.shape.fields, &self.definition.trailer];
        let fields = || layouts.iter().flat_map(|layout| &layout.fields);
        for (name, _) in self.values {
            let Some(field) = fields().find(|field| field.name == *name) else {
                return Err(EncodeError {
                    problem: format!("`{}` has no field `{name}`", self.shape.name),
                    hint: did_you_mean(name, fields().map(|field| field.name.as_str())),
                });
            };
            let derived = match field.role {
                Role::Plain | Role::Sequence => continue,
                Role::Constant(_) => "is always the same",
                Role::Tag => "follows from the message",
                Role::Length | Role::Sum(_) => "follows from the other bytes",
            };
            let hint = Some(format!("patch={{\"{name}\": ..}} sends another one"));
            return Err(EncodeError { problem: format!("`{name}` {derived}"), hint });
        }
        Ok(())
    }

    fn layout(&mut self, layout: &'a Layout) -> Result<(), EncodeError> {
        let mut tags = self.shape.tag.iter();
        for field in &layout.fields {
            let value = match &field.role {
                Role::Constant(value) => value.clone(),
                Role::Tag => tags.next().cloned().unwrap_or(Value::Int(0)),
                Role::Length | Role::Sum(_) => {
                    let at = self.body.len();
                    self.body.resize(at + field.kind.size().unwrap_or(0), 0);
                    self.places.push((field, at..self.body.len()));
                    continue;
                }
                Role::Sequence | Role::Plain => self.value(layout, field)?,
            };
            let problem = |what| EncodeError::new(format!("`{}` of `{}` {what}", field.name, self.shape.name));
            let bytes = field.encode(&value).map_err(problem)?;
            let at = self.body.len();
            self.body.extend_from_slice(&bytes);
            self.places.push((field, at..self.body.len()));
        }
        Ok(())
    }

    fn value(&self, layout: &Layout, field: &Field) -> Result<Value, EncodeError> {
        if let Some((_, value)) = self.values.iter().find(|(name, _)| *name == field.name) {
            return Ok(value.clone());
        }
        if field.role == Role::Sequence {
            let highest = field.kind.notation(field.little).highest(field.kind.size().unwrap_or(1));
            let number = highest.checked_add(1).map_or(self.sequence, |count| self.sequence % count);
            return Ok(Value::from_integer(i128::from(number)));
        }
        if let Some(counted) = layout.counted_by(&field.name) {
            let items = self.value(layout, counted)?;
            return Ok(Value::from_integer(Layout::count(&items, &counted.kind) as i128));
        }
        field
            .default
            .clone()
            .ok_or_else(|| EncodeError::new(format!("`{}` needs a value for `{}`", self.shape.name, field.name)))
    }

    /// Lengths, patches of fields, checksums, patches of checksums.
    fn seal(&mut self) -> Result<(), EncodeError> {
        let framing = &self.definition.framing;
        let patched = |name: &str| self.patch.of(name).is_some();
        if let Some(field) = &framing.length {
            let says = i128::try_from(self.body.len()).unwrap_or(i128::MAX) - i128::from(field.extra);
            if !patched(&field.name) && !(0..=i128::from(field.notation.highest(field.width))).contains(&says) {
                let problem = format!("the frame is too long: `{}` cannot say {says}", field.name);
                return Err(EncodeError { problem, hint: Some("send it raw, or with a patch".to_owned()) });
            }
            framing.seal_length(&mut self.body);
        }
        if self.body.len() > framing.limit && *self.patch == Patch::default() {
            let problem = format!("the frame has {} bytes, at most {} are allowed", self.body.len(), framing.limit);
            return Err(EncodeError { problem, hint: Some("send it raw, or raise `limit`".to_owned()) });
        }
        let places = std::mem::take(&mut self.places);
        for (field, range) in places.iter().filter(|(field, _)| !matches!(field.role, Role::Sum(_))) {
            self.apply(field, range.clone())?;
        }
        for (field, range) in &places {
            if let Role::Sum(index) = field.role {
                framing.seal_sum(index, &mut self.body);
                self.apply(field, range.clone())?;
            }
        }
        Ok(())
    }

    /// Puts the patch of a field in its place.
    fn apply(&mut self, field: &Field, range: Range<usize>) -> Result<(), EncodeError> {
        let Some(patch) = self.patch.of(&field.name) else { return Ok(()) };
        let width = range.len();
        let notation = field.kind.notation(field.little);
        let bytes = match patch {
            Value::Bytes(bytes) if bytes.len() == width => bytes.clone(),
            Value::Text(word) if word == "wrong" => other(&self.body[range.clone()], notation),
            Value::Int(_) | Value::Unsigned(_) => {
                let number = patch.as_i128().unwrap_or_default();
                notation.write(number as u64, width)
            }
            _ => field.encode(patch).ok().filter(|bytes| bytes.len() == width).ok_or_else(|| {
                EncodeError::new(format!(
                    "the patch of `{}` takes a number, {width} bytes or \"wrong\", not {patch}",
                    field.name
                ))
            })?,
        };
        self.body[range].copy_from_slice(&bytes);
        Ok(())
    }
}

/// Bytes that differ from these, written as these are.
fn other(bytes: &[u8], notation: Notation) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = match notation {
            Notation::Hex | Notation::Decimal if *last == b'0' => b'1',
            Notation::Hex | Notation::Decimal => b'0',
            _ => *last ^ 1,
        };
    }
    bytes
}
