//! A protocol: its framing, what stands in front of each message and behind it, and its messages, told apart by tags.
//!
//! Rules of this file:
//! - A message is known by the values of all tag fields of the header; with no tag there is one message, or one each way.
//! - The same tag may mean one message of the client and another one of the device (`from`).
//! - What is of no known message keeps its header; its payload is bytes.

use super::answer::AnswerRule;
use super::field::{Field, Role};
use super::layout::{Layout, Read};
use crate::dissect::Sender;
use crate::line::framing::{Framing, Problem};
use crate::record::Value;
use crate::time::Duration;
use std::ops::Range;
use std::sync::Arc;

/// A part of a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// In front of the payload.
    Header,
    /// The message itself.
    Payload,
    /// Behind the payload.
    Trailer,
}

/// What the bench file of a real device must allow before a message is sent to it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Need {
    /// It only asks.
    Nothing,
    /// It changes something; so may whatever nobody has described.
    #[default]
    Write,
    /// It restarts the device.
    Restart,
    /// It makes the device silent.
    Silence,
}

impl Need {
    /// The words of descriptions.
    pub const WORDS: [(&'static str, Need); 4] =
        [("nothing", Need::Nothing), ("write", Need::Write), ("restart", Need::Restart), ("silence", Need::Silence)];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Need::WORDS.iter().find(|(_, need)| *need == self).map_or("", |(word, _)| word)
    }
}

/// A message, as described.
#[derive(Clone, PartialEq, Debug)]
pub struct MessageShape {
    /// Its name.
    pub name: String,
    /// What its tag fields hold.
    pub tag: Vec<Value>,
    /// Who sends it; both if nobody is said.
    pub from: Option<Sender>,
    /// Its fields.
    pub fields: Layout,
    /// The messages that answer it.
    pub answers: Vec<String>,
    /// It comes by itself, too: one that has not the number of a request is none of its answers.
    pub unasked: bool,
    /// What it needs to be sent to a real device.
    pub needs: Need,
}

/// A protocol that is defined by data.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// How its frames stand in a stream of bytes.
    pub framing: Arc<Framing>,
    /// In front of each message.
    pub header: Layout,
    /// Behind each message.
    pub trailer: Layout,
    /// Its messages.
    pub messages: Vec<MessageShape>,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// Header fields that an answer repeats.
    pub same: Vec<String>,
    /// How long a late answer is waited for before the next request, where nothing tells it from the next one.
    pub settle: Option<Duration>,
    /// What an emulated device answers.
    pub answers: Vec<AnswerRule>,
}

/// A field of a message that came.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The part that it stands in.
    pub part: Part,
    /// Its bytes in the body.
    pub range: Range<usize>,
    /// What it says.
    pub value: Value,
    /// Its unit.
    pub unit: String,
    /// What is wrong with it, or special.
    pub note: Option<String>,
}

/// A message that came.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Message {
    /// Its name, if it is a known one.
    pub name: Option<String>,
    /// Its fields, those of header and trailer among them.
    pub fields: Vec<Found>,
    /// What is wrong with its content.
    pub problems: Vec<Problem>,
}

impl Message {
    /// The value of a field.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}

impl Definition {
    /// The message of a name.
    #[must_use]
    pub fn message(&self, name: &str) -> Option<&MessageShape> {
        self.messages.iter().find(|message| message.name == name)
    }

    /// The field of the header that numbers requests.
    #[must_use]
    pub fn sequence(&self) -> Option<&Field> {
        self.header.fields.iter().find(|field| field.role == Role::Sequence)
    }

    /// What a body says. `sender` is who sent it, if that is known.
    #[must_use]
    pub fn decode(&self, body: &[u8], sender: Option<Sender>) -> Message {
        let header = self.header.size().unwrap_or(0).min(body.len());
        let trailer = self.trailer.size().unwrap_or(0).min(body.len() - header);
        let (payload, behind) = (header..body.len() - trailer, body.len() - trailer..body.len());
        let mut message = Message::default();
        let (front, missing) = self.header.decode(body, 0..header);
        message.problems.extend(missing);
        let tag: Vec<&Value> = tags(&self.header, &front).collect();
        let shape = self.shape(&tag, sender);
        self.found(&mut message, Part::Header, &self.header, front);
        match shape {
            Some(shape) => {
                let (read, problem) = shape.fields.decode(body, payload);
                message.problems.extend(shape.fields.wrong_constants(body, &read));
                message.name = Some(shape.name.clone());
                message.problems.extend(problem);
                self.found(&mut message, Part::Payload, &shape.fields, read);
            }
            None if !payload.is_empty() => message.fields.push(Found {
                name: "payload".to_owned(),
                part: Part::Payload,
                value: Value::from(&body[payload.clone()]),
                range: payload,
                unit: String::new(),
                note: None,
            }),
            None => {}
        }
        let (read, _) = self.trailer.decode(body, behind);
        self.found(&mut message, Part::Trailer, &self.trailer, read);
        message
    }

    /// The message with these tags; one of the sender comes first.
    fn shape(&self, tag: &[&Value], sender: Option<Sender>) -> Option<&MessageShape> {
        let fits = |message: &&MessageShape| message.tag.iter().eq(tag.iter().copied());
        let of = |from: Option<Sender>| self.messages.iter().filter(fits).find(|message| message.from == from);
        let own = sender.and_then(|sender| of(Some(sender)));
        let any = || self.messages.iter().filter(fits).find(|message| sender.is_none() && message.from.is_some());
        own.or_else(|| of(None)).or_else(any)
    }

    fn found(&self, message: &mut Message, part: Part, layout: &Layout, read: Vec<Read>) {
        for Read { index, range, value, note } in read {
            let field = &layout.fields[index];
            let (name, unit) = (field.name.clone(), field.unit.clone());
            message.fields.push(Found { name, part, range, value, unit, note });
        }
    }
}

/// The values of the tag fields.
fn tags<'a>(header: &'a Layout, read: &'a [Read]) -> impl Iterator<Item = &'a Value> {
    read.iter().filter(|read| header.fields[read.index].role == Role::Tag).map(|read| &read.value)
}
