//! The right to command a node, beside the lease of driving it.
//!
//! Who commands a node lends it to its line thread until what he commanded has left, and other callers may look at it
//! meanwhile. What they command would come between, and its sends would be taken for his: so they queue for this right,
//! in the order of arrival, and it is given back when the command is done.

use crate::lease::{Gate, Held, Tenant};

/// What is held: nothing but the right.
pub(crate) struct Acting;

impl Tenant for Acting {
    fn deadline(&mut self) -> u64 {
        u64::MAX
    }
    fn shut(&mut self) {}
}

/// Nobody does anything with it between callers.
pub(crate) struct NobodysGate;

impl Gate for NobodysGate {
    fn disarm(&self) {}
    fn rearm(&self) {}
    fn schedule(&self, _: u64) {}
    fn linger(&self, _: u64) {}
    fn stand_back(&self) {}
    fn nudge(&self) {}
}

/// The right to command. On virtual time there is none: nothing happens there but what a caller lets happen.
pub(crate) type Right<'a> = Option<Held<'a, Acting, NobodysGate>>;
