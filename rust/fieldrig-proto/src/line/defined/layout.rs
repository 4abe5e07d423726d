//! Fields one after the other.

use super::field::{Field, Kind, Role, Size};
use crate::line::framing::Problem;
use crate::record::Value;
use std::ops::Range;

/// Fields in the order of the wire.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Layout {
    /// The fields.
    pub fields: Vec<Field>,
}

/// A field that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Read {
    /// Index in the layout.
    pub index: usize,
    /// Its bytes.
    pub range: Range<usize>,
    /// What it says.
    pub value: Value,
    /// What is wrong with it.
    pub note: Option<String>,
}

impl Layout {
    /// How many bytes it always has.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        self.fields.iter().map(|field| field.kind.size()).sum()
    }

    /// The fewest bytes that it can have.
    #[must_use]
    pub fn minimum(&self) -> usize {
        self.fields.iter().filter_map(|field| field.kind.size()).sum()
    }

    /// Where a field of known place begins.
    #[must_use]
    pub fn offset(&self, name: &str) -> Option<usize> {
        let index = self.fields.iter().position(|field| field.name == name)?;
        self.fields[..index].iter().map(|field| field.kind.size()).sum()
    }

    /// What the bytes of `range` say; bytes that are missing or too many are a problem.
    #[must_use]
    pub fn decode(&self, body: &[u8], range: Range<usize>) -> (Vec<Read>, Option<Problem>) {
        let (mut at, mut read) = (range.start, Vec::<Read>::new());
        for (index, field) in self.fields.iter().enumerate() {
            let left = range.end.saturating_sub(at);
            let size = match self.bytes_of(field, &read, left) {
                Ok(size) if size <= left => size,
                other => {
                    let what = match other.map_or_else(|needs| needs, Some) {
                        Some(needs) => format!("`{}` needs {needs} bytes, {left} follow", field.name),
                        None => format!("what should count `{}` is no count", field.name),
                    };
                    return (read, Some(Problem::Content { offset: at, what }));
                }
            };
            let (value, note) = field.decode(&body[at..at + size]);
            read.push(Read { index, range: at..at + size, value, note });
            at += size;
        }
        let beyond = (at < range.end).then(|| {
            let what = format!("{} bytes follow its last field", range.end - at);
            Problem::Content { offset: at, what }
        });
        (read, beyond)
    }

    /// The fields that are always the same and are not, of those that were read.
    pub(super) fn wrong_constants(&self, body: &[u8], read: &[Read]) -> Vec<Problem> {
        let wrong = |read: &Read| {
            let field = &self.fields[read.index];
            let Role::Constant(value) = &field.role else { return None };
            let (found, expected) = (body[read.range.clone()].to_vec(), field.encode(value).ok()?);
            let (name, offset) = (field.name.clone(), read.range.start);
            (found != expected).then_some(Problem::Constant { name, offset, found, expected })
        };
        read.iter().filter_map(wrong).collect()
    }

    /// How many bytes a field has; `Err` if that is more than there can be, or nothing says it.
    fn bytes_of(&self, field: &Field, before: &[Read], left: usize) -> Result<usize, Option<usize>> {
        if let Some(size) = field.kind.size() {
            return Ok(size);
        }
        match field.kind.varies() {
            Some(Size::Counted(by)) => {
                let count = before.iter().find(|read| self.fields[read.index].name == *by).map(|read| &read.value);
                // Minus one, or digits that are none, count nothing: no items are not what they say.
                let count = count.and_then(Value::as_i128).and_then(|count| usize::try_from(count).ok()).ok_or(None)?;
                count.checked_mul(field.kind.item()).ok_or(Some(usize::MAX))
            }
            // Whole items only: what is left of half an item is told as bytes too many.
            _ => Ok(left - left % field.kind.item().max(1)),
        }
    }

    /// The number of items that a value brings to a field that is counted elsewhere.
    #[must_use]
    pub fn count(value: &Value, kind: &Kind) -> usize {
        match (value, kind) {
            (Value::List(items), _) => items.len(),
            (Value::Bytes(bytes), _) => bytes.len(),
            (Value::Text(text), _) => text.len(),
            _ => 0,
        }
    }

    /// The field that says how many items another one has, by the index of that.
    #[must_use]
    pub fn counted_by(&self, name: &str) -> Option<&Field> {
        let by = |field: &&Field| matches!(field.kind.varies(), Some(Size::Counted(by)) if by == name);
        self.fields.iter().find(by)
    }
}
