//! What a request of tokio-modbus came to, in the terms of our own client.
//!
//! Rules of this file:
//! - Values come from tokio-modbus, not from our codec: what is judged is what a client of the field makes of the bytes.
//! - tokio-modbus has faults, too. What it could not use is held against the device only if our codec finds fault with it
//!   as well; else nothing is proven.

use fieldrig_engine::stock::modbus as stock;
use fieldrig_proto::dissect::hex;
use fieldrig_proto::modbus::client::{ClientEvent, Deviation, Exchange, Ticket};
use fieldrig_proto::modbus::pdu::{Exception, MEI_DEVICE_IDENTIFICATION, Request, Response, function as f};
use fieldrig_proto::modbus::{rtu, tcp};

/// Whether it shows that the device can be reached. What a gateway says about a device behind it (V1.1b3 7: 0x0A path
/// unavailable, 0x0B target failed to respond) shows the contrary.
pub(super) fn proves_path(ended: &stock::Ended) -> bool {
    match ended.outcome {
        stock::Outcome::Answered(_) => true,
        stock::Outcome::Exception(code) => !matches!(code, 0x0a | 0x0b),
        _ => false,
    }
}

/// The event that our client would have reported.
pub(super) fn event(framing: stock::Framing, request: Request, ended: stock::Ended) -> ClientEvent {
    let stock::Ended { exchange: theirs, outcome } = ended;
    let proper = is_proper(framing, &request, &theirs);
    let before = before(&theirs);
    let response = match outcome {
        stock::Outcome::Answered(response) => Ok(converted(response, &request)),
        other => Err(other),
    };
    let mut exchange = Exchange {
        ticket: Ticket(theirs.ticket.0),
        unit: theirs.unit,
        asked: request,
        request: theirs.sent,
        sent: theirs.handed,
        answer: theirs.received,
        at: theirs.at,
        attempts: Vec::new(),
        deviations: unasked(&theirs.dropped),
        doubt: None,
        may_be_echo: false,
    };
    let weak = "by fieldrig's reading this is a proper answer: it is tokio-modbus that cannot use it";
    let malformed = |mut exchange: Exchange, text: String| {
        exchange.doubt = proper.then_some(weak).or(before).map(str::to_owned);
        ClientEvent::Malformed(exchange, text)
    };
    match response {
        Ok(response) => ClientEvent::Answered(exchange, response),
        Err(stock::Outcome::Exception(code)) => {
            let exception = Exception { function: exchange.asked.function(), code };
            ClientEvent::Exception(exchange, exception)
        }
        Err(stock::Outcome::TimedOut(after)) => {
            exchange.doubt = proper.then_some(weak).map(str::to_owned);
            ClientEvent::TimedOut(exchange, after)
        }
        Err(stock::Outcome::Lost(why)) => ClientEvent::Lost(exchange, why),
        Err(stock::Outcome::Panicked(text)) => malformed(exchange, format!("tokio-modbus panicked over it ({text})")),
        Err(stock::Outcome::Odd(text) | stock::Outcome::NotSent(text)) => {
            malformed(exchange, format!("tokio-modbus says of it `{text}`"))
        }
        // It was taken out above.
        Err(stock::Outcome::Answered(response)) => {
            let response = converted(response, &exchange.asked);
            ClientEvent::Answered(exchange, response)
        }
    }
}

/// Why what came may belong to something before the request, if it may.
fn before(exchange: &stock::Exchange) -> Option<&'static str> {
    let owed = "an earlier request there was never answered: this may be its answer";
    let unasked = "before the request something came that nobody had asked for: this may be more of it";
    exchange.owed.then_some(owed).or((!exchange.dropped.is_empty()).then_some(unasked))
}

/// What was dropped before the request, said with the answer.
fn unasked(dropped: &[u8]) -> Vec<Deviation> {
    let text = || format!("before the request came {}, which nobody had asked for: dropped", hex(dropped));
    (!dropped.is_empty()).then(|| Deviation { name: "unasked", text: text() }).into_iter().collect()
}

/// Whether what came is, by our own codec, a proper answer to what was sent, and nothing else.
fn is_proper(framing: stock::Framing, request: &Request, exchange: &stock::Exchange) -> bool {
    let received = &exchange.received[..];
    let pdu = match framing {
        stock::Framing::Tcp => {
            let (is, asked) = (tcp::View(received), tcp::View(&exchange.sent));
            let header =
                is.transaction() == asked.transaction() && is.protocol() == Some(0) && is.unit() == asked.unit();
            (header && tcp::adu_length(received) == Some(received.len())).then(|| is.pdu())
        }
        stock::Framing::Rtu { .. } => {
            let is = rtu::View(received);
            (is.unit() == Some(exchange.unit) && is.problem().is_none()).then(|| is.pdu())
        }
    };
    pdu.is_some_and(|pdu| Response::answering(request, pdu).is_ok())
}

/// A response of tokio-modbus in our terms.
pub(super) fn converted(response: stock::Response, request: &Request) -> Response {
    use stock::Response as Theirs;
    let special = |function: u8, data: Vec<u8>| {
        let pdu = [&[function], &data[..]].concat();
        Response::answering(request, &pdu).unwrap_or(Response::Raw { function, data })
    };
    match response {
        Theirs::ReadCoils(values) => Response::Bits { function: f::READ_COILS, values },
        Theirs::ReadDiscreteInputs(values) => Response::Bits { function: f::READ_DISCRETE_INPUTS, values },
        Theirs::ReadHoldingRegisters(values) => Response::Registers { function: f::READ_HOLDING_REGISTERS, values },
        Theirs::ReadInputRegisters(values) => Response::Registers { function: f::READ_INPUT_REGISTERS, values },
        Theirs::ReadWriteMultipleRegisters(values) => {
            Response::Registers { function: f::READ_WRITE_MULTIPLE_REGISTERS, values }
        }
        Theirs::WriteSingleCoil(address, on) => Response::WriteSingleCoil { address, on },
        Theirs::WriteSingleRegister(address, value) => Response::WriteSingleRegister { address, value },
        Theirs::WriteMultipleCoils(address, quantity) => {
            Response::Written { function: f::WRITE_MULTIPLE_COILS, address, quantity }
        }
        Theirs::WriteMultipleRegisters(address, quantity) => {
            Response::Written { function: f::WRITE_MULTIPLE_REGISTERS, address, quantity }
        }
        Theirs::MaskWriteRegister(address, and, or) => Response::MaskWriteRegister { address, and, or },
        Theirs::ReportServerId(id, running, more) => {
            let running = if running { 0xff } else { 0 };
            Response::ServerId { data: [&[id, running], &more[..]].concat() }
        }
        Theirs::ReadDeviceIdentification(found) => {
            let more = if found.more_follows { 0xff } else { 0 };
            let (read, level, next) = (found.read_code.value(), found.conformity_level.value(), found.next_object_id);
            let mut data = vec![MEI_DEVICE_IDENTIFICATION, read, level, more, next];
            // Both were octets in the answer that tokio-modbus read.
            data.push(found.device_id_objects.len() as u8);
            for object in &found.device_id_objects {
                data.extend([object.id, object.value.len() as u8]);
                data.extend_from_slice(&object.value);
            }
            special(f::ENCAPSULATED_INTERFACE, data)
        }
        Theirs::Custom(function, data) => special(function, data.to_vec()),
    }
}
