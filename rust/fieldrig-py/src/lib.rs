//! The binding: conversion, releasing the GIL, exceptions. No logic.
//!
//! - `error`: the exceptions of `fieldrig/errors.py`, raised from here.
//! - `time`, `value`, `place`, `dissect`: conversions.
//! - `life`: forks, interpreter exit, shared rigs. `wait`: blocking calls and Ctrl-C. `handle`: both, for one node.
//! - `doctor`, `rig`, `stall`, `timing`, `secrets`, `ports`, `stream`, `modbus`, `mqtt`, `protocol`, `device`, `bench`: the classes.
//!   One Rust module is one Python submodule.
//! - `model`, `loader`: models in Python. `guest`: endpoints in Python. `attach`: how threads of ours come to Python.

// What Python sees is documented for Python: in the stubs and in the docstrings below.
#![allow(missing_docs)]

use pyo3::prelude::*;

mod attach;
mod bench;
mod device;
mod dissect;
mod doctor;
mod error;
mod guest;
mod handle;
mod joined;
mod life;
mod loader;
mod modbus;
mod model;
mod mqtt;
mod place;
mod ports;
mod protocol;
mod rig;
mod secrets;
mod stall;
mod stream;
mod time;
mod timing;
mod trace;
mod value;
mod wait;

/// The native core of fieldrig.
#[pymodule]
mod _core {
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::dissect::{Dissection, Field};
    #[pymodule_export]
    use crate::doctor::{Checkup, Lateness, examine};
    #[pymodule_export]
    use crate::joined::JoinedPort;
    #[pymodule_export]
    use crate::ports::{LineCounts, SerialPort, WireLock, ports};
    #[pymodule_export]
    use crate::rig::Rig;
    #[pymodule_export]
    use crate::secrets::Secrets;
    #[pymodule_export]
    use crate::stall::Stall;
    #[pymodule_export]
    use crate::time::{Span, Stamp, duration, duration_ns};
    #[pymodule_export]
    use crate::trace::{TraceFollower, export_trace};

    /// Modbus: client, emulated device, monitor, ADUs as bytes.
    #[pymodule]
    mod modbus {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::modbus::{
            Answer, Answers, Attempt, Client, ClientRemark, Device, Gateway, Monitor, Observation, Reading, Request,
            Rule, adu_rtu, adu_tcp, crc16, describe_points, dissect_ascii, dissect_rtu, dissect_tcp, read_url,
        };

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::modbus::add_habits(module)?;
            crate::importable(module, "modbus")
        }
    }

    /// The stock Modbus client and server: tokio-modbus.
    #[pymodule]
    mod modbus_stock {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::modbus::{StockClient, StockDialogue, StockServer};

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "modbus_stock")
        }
    }

    /// MQTT: client, watches, embedded broker.
    #[pymodule]
    mod mqtt {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::mqtt::{Broker, Client, Message, Published, Watch};

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "mqtt")
        }
    }

    /// Raw byte conversations.
    #[pymodule]
    mod stream {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::stream::{Event, Line, LineEvent, Match, Played, Playing, Received, Sent, Stream, check_pattern};

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "stream")
        }
    }

    /// Verdicts on the times of events, and how finely ports tell time.
    #[pymodule]
    mod timing {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::timing::{
            Calibration, Figure, calibration_file, calibrations, judge_timing, origin_of,
            span_begins_with_what_was_seen, span_too_fine, store_calibration, too_fine,
        };

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "timing")
        }
    }

    /// Protocols that are defined by data.
    #[pymodule]
    mod protocol {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::protocol::{Answer, Client, Device, Frame, Protocol, checksum, checksums};

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::protocol::add_habits(module)?;
            crate::importable(module, "protocol")
        }
    }

    /// Endpoints that are written in Python.
    #[pymodule]
    mod endpoint {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::guest::{Driver, Report};

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "endpoint")
        }
    }

    /// Emulated devices.
    #[pymodule]
    mod device {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::device::{Change, Device};
        #[pymodule_export]
        use crate::model::Turn;

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "device")
        }
    }

    /// Bench files.
    #[pymodule]
    mod bench {
        use pyo3::prelude::*;

        #[pymodule_export]
        use crate::bench::{DeviceLink, Dut, Link, LinkEnd, Plan, Resolved, Running, bring_up, load, schema, survey};

        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::importable(module, "bench")
        }
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_sub_interpreters()?;
        crate::life::register(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Threads, ports and the classes looked up once belong to one interpreter.
    fn refuse_sub_interpreters() -> PyResult<()> {
        // SAFETY: the calling thread is attached to the interpreter it asks about.
        let interpreter = unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
        if interpreter == 0 {
            return Ok(());
        }
        Err(PyImportError::new_err("fieldrig works in the main interpreter only, not in a sub-interpreter"))
    }
}

/// Lets `import fieldrig._core.NAME` find a submodule, which has no file of its own.
fn importable(module: &Bound<'_, PyModule>, name: &str) -> PyResult<()> {
    let full = format!("fieldrig._core.{name}");
    module.setattr("__name__", &full)?;
    module.py().import("sys")?.getattr("modules")?.set_item(full, module)
}
