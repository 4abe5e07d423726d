//! What is fed: a folder of the library is a file here, a decoder or endpoint is an entry in it.

use fieldrig_proto::fault::Chance;

mod device;
mod framing;
mod line;
mod modbus;
mod mqtt;

/// Takes one input after another.
pub(crate) type Eater = Box<dyn FnMut(&[u8], &mut Chance)>;

/// Something that reads bytes.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: &'static str,
    /// Good inputs that mutations begin with.
    pub(crate) samples: &'static [&'static [u8]],
    /// Makes a fresh one.
    pub(crate) make: fn() -> Eater,
}

/// All of them.
pub(crate) fn all() -> Vec<Target> {
    [device::targets(), framing::targets(), line::targets(), modbus::targets(), mqtt::targets()]
        .into_iter()
        .flatten()
        .collect()
}

/// A decoder without state.
fn decoder(mut decode: impl FnMut(&[u8]) + 'static) -> Eater {
    Box::new(move |bytes, _| decode(bytes))
}

/// A parser of text gets the input as UTF-8, with replacement characters where it is none.
fn text(mut parse: impl FnMut(&str) + 'static) -> Eater {
    Box::new(move |bytes, _| parse(&String::from_utf8_lossy(bytes)))
}
