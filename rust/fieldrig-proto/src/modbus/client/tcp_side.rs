//! The client on TCP: many requests in flight, told apart by their transaction ids.
//!
//! Rules of this file (MG 4.4.1.3):
//! - An ADU with the transaction id of one request in flight is its answer, or what came instead of it.
//! - An ADU with any other id is `Late`, `Duplicate` or `Unsolicited`, and no data.
//! - Ids that are shared on purpose ([`Transactions::Fixed`](super::Transactions), `Colliding`, patched ones) tell nothing:
//!   an answer is data only if it fits one of the requests that share its id, and no request of that id was given up.
//!   Else the request ends without data, and says in [`Exchange::doubt`](super::Exchange) that nobody is to blame.
//! - Over UDP a datagram is one ADU; what is not just that is no answer.
//! - A length field that cannot be gone by (MG 3.1.3) ends the connection: where the next ADU begins is unknown.

use super::call::Call;
use super::judge;
use super::{Client, ClientEvent, Stray};
use crate::endpoint::{How, Stamps};
use crate::modbus::tcp::{self, Found};
use crate::time::{Stamp, Time};

impl Client {
    pub(super) fn take_tcp(&mut self, now: Time, bytes: &[u8], stamps: Stamps<'_>) {
        let mut framer = std::mem::take(&mut self.framer);
        let mut end = 0usize.wrapping_sub(framer.pending().len());
        let mut lost = false;
        framer.feed(bytes, |found| match found {
            Found::Adu(adu) => {
                end = end.wrapping_add(adu.len());
                self.take_adu(now, adu, stamps.at(end.wrapping_sub(1), bytes.len()));
            }
            Found::Lost(rest) if !lost => {
                lost = true;
                self.take_unframable(rest, stamps.at(bytes.len().saturating_sub(1), bytes.len()));
            }
            Found::Lost(_) => {}
        });
        self.framer = framer;
        if lost {
            self.close(now, How::Rst);
        }
    }

    /// A datagram is one ADU and nothing else, or it is no answer at all (ours: MG has no UDP).
    pub(super) fn take_datagram(&mut self, now: Time, bytes: &[u8], at: Stamp) {
        if tcp::adu_length(bytes) == Some(bytes.len()) {
            return self.take_adu(now, bytes, at);
        }
        let reason = tcp::datagram_problem(bytes);
        let transaction = tcp::View(bytes).transaction();
        match self.flying.iter().position(|call| Some(call.transaction) == transaction) {
            Some(index) => {
                let call = self.flying.swap_remove(index);
                self.remember(call.transaction, true);
                self.settle(now, call, bytes, at, Err(reason));
            }
            None => self.events.push_back(ClientEvent::Unsolicited(Stray { bytes: bytes.to_vec(), at, reason })),
        }
    }

    fn take_adu(&mut self, now: Time, adu: &[u8], at: Stamp) {
        let transaction = tcp::View(adu).transaction();
        let mut candidates = self
            .flying
            .iter()
            .enumerate()
            .filter(|(_, call)| Some(call.transaction) == transaction)
            .map(|(index, _)| index);
        let Some(index) = candidates.next() else { return self.take_stray(adu, at) };
        if candidates.next().is_some() || self.is_owed(transaction.unwrap_or_default()) {
            return self.take_shared(now, transaction.unwrap_or_default(), adu, at);
        }
        self.take_for(now, index, adu, at);
    }

    fn take_for(&mut self, now: Time, index: usize, adu: &[u8], at: Stamp) {
        let call = self.flying.swap_remove(index);
        self.remember(call.transaction, true);
        let judgement = judge::tcp(&call, tcp::View(adu));
        self.settle(now, call, adu, at, judgement);
    }

    /// An answer whose transaction id several requests have.
    fn take_shared(&mut self, now: Time, transaction: u16, adu: &[u8], at: Stamp) {
        let fits = |call: &Call| call.transaction == transaction && judge::tcp(call, tcp::View(adu)).is_ok();
        let owed = self.ended.iter_mut().find(|ended| ended.transaction == transaction && !ended.answered);
        if let Some(owed) = owed {
            owed.answered = true;
            self.unanswered -= 1;
            let reason = format!("transaction {transaction} was given up before, and used again");
            self.events.push_back(ClientEvent::Late(Stray { bytes: adu.to_vec(), at, reason }));
            for call in self.flying.iter_mut().filter(|call| fits(call)) {
                call.doubt = Some(format!(
                    "an earlier request with the same transaction id {transaction} was given up: what came may answer it"
                ));
            }
            return;
        }
        let fitting: Vec<usize> = (0..self.flying.len()).filter(|index| fits(&self.flying[*index])).collect();
        if let [index] = fitting[..] {
            return self.take_for(now, index, adu, at);
        }
        // The oldest one it may answer, or the oldest of all.
        let mine = (0..self.flying.len()).filter(|index| self.flying[*index].transaction == transaction);
        let confused = if fitting.is_empty() {
            mine.min_by_key(|index| self.flying[*index].ticket).into_iter().collect()
        } else {
            fitting
        };
        for index in &confused {
            let doubt = || format!("several requests in flight had the same transaction id {transaction}");
            self.flying[*index].doubt.get_or_insert_with(doubt);
        }
        let oldest = confused.into_iter().min_by_key(|index| self.flying[*index].ticket);
        if let Some(index) = oldest {
            self.take_for(now, index, adu, at);
        }
    }

    fn take_stray(&mut self, adu: &[u8], at: Stamp) {
        let transaction = tcp::View(adu).transaction().unwrap_or_default();
        let known = self.ended.iter().rev().find(|ended| ended.transaction == transaction);
        let stray = |reason: String| Stray { bytes: adu.to_vec(), at, reason };
        self.events.push_back(match known {
            Some(ended) if ended.answered => {
                ClientEvent::Duplicate(stray(format!("transaction {transaction} was answered before")))
            }
            Some(_) => ClientEvent::Late(stray(format!("transaction {transaction} was given up before"))),
            None => ClientEvent::Unsolicited(stray(format!("no request has transaction {transaction}"))),
        });
    }

    fn take_unframable(&mut self, rest: &[u8], at: Stamp) {
        let view = tcp::View(rest);
        let length = view.length().unwrap_or_default();
        let reason = format!("length at offset 4 is {length}, 1 to {} are allowed", tcp::MAX_LENGTH);
        match self.flying.iter().position(|call| Some(call.transaction) == view.transaction()) {
            Some(index) => {
                let call = self.flying.swap_remove(index);
                self.events.push_back(ClientEvent::Malformed(call.end(rest.to_vec(), at), reason));
            }
            None => {
                let stray = Stray { bytes: rest.to_vec(), at, reason };
                self.gibberish = Some(stray.clone());
                self.events.push_back(ClientEvent::Unsolicited(stray));
            }
        }
    }
}
