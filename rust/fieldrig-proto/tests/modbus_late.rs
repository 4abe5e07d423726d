//! A device on a line that answers late, by any delay: what it says is never taken for the answer to something else, and
//! it is accused of nothing but of not having answered in time.

mod common;

use common::{Node, Path, World, ms, secs, us};
use fieldrig_proto::device::{Device, NoModel, PointStore};
use fieldrig_proto::line::LineSettings;
use fieldrig_proto::modbus::client::{Client, ClientEvent, Config};
use fieldrig_proto::modbus::pdu::{Exception, Request, Response};
use fieldrig_proto::modbus::rtu::LineRules;
use fieldrig_proto::modbus::{ASCII, RTU, ascii};
use fieldrig_proto::protocol::{Built, Role};
use fieldrig_proto::record::Value;
use fieldrig_proto::time::{Duration, human};

const LINE: &str = "19200 8E1";
const TIMEOUT: Duration = Duration::from_millis(100);

/// What carries the frames.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Route {
    Rtu,
    RtuInTcp,
    Ascii,
}

const ROUTES: [Route; 3] = [Route::Rtu, Route::RtuInTcp, Route::Ascii];

/// Holding register `n` holds 100 + n, input register `n` 200 + n; there are eight of each.
fn device(route: Route) -> Device {
    let values = |first: i64| Value::List((first..first + 8).map(Value::Int).collect());
    let settings: Vec<(String, Value)> = [
        ("unit", Value::Int(1)),
        ("holding", values(100)),
        ("input", values(200)),
        ("line", LINE.into()),
        ("framing", "tolerant".into()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let protocol = if route == Route::Ascii { &ASCII } else { &RTU };
    let constructor = protocol.constructor(Role::Device).expect("Modbus has devices");
    let Ok(Built::Face(face)) = (constructor.build)("bus", &settings) else { panic!("these settings make a face") };
    Device::new("meter", PointStore::default(), Box::new(NoModel), vec![face])
}

struct Line {
    world: World,
    client: Node<Client>,
    device: Node<Device>,
}

impl Line {
    /// A client and a device on a wire, or with the same frames in a TCP connection.
    fn new(route: Route) -> Line {
        let world = World::new();
        let device = world.add("meter", device(route));
        device.with(|device, now| device.power_on(now));
        let line: LineSettings = LINE.parse().expect("valid settings");
        let config = match route {
            Route::Rtu => Config::rtu_on(&line),
            Route::RtuInTcp => Config::rtu(LineRules::over_tcp()),
            Route::Ascii => Config::ascii(ascii::Rules::tolerant(&line)),
        };
        let client = world.add("client", Client::new(config));
        let path = if route == Route::RtuInTcp { Path::stream().delay(us(300)) } else { Path::wire(LINE) };
        world.join(&client, "modbus", &device, "bus", &path);
        world.run_for(ms(10));
        client.events();
        Line { world, client, device }
    }

    fn delay(&self, delay: Duration) {
        let text = human(i64::try_from(delay.as_nanos()).expect("a short delay"));
        self.habit("delay_answer", &text.as_str().into());
    }

    fn habit(&self, name: &str, value: &Value) {
        self.device.with(|device, _| device.set_habit("bus", name, value)).expect("a habit that exists");
    }

    fn ask(&self, request: Request) -> ClientEvent {
        let asked = self.client.with(|client, now| client.request(now, 1, request, TIMEOUT));
        let ticket = asked.expect("a request that may be sent");
        self.client.wait(secs(30), |_, events| {
            let index = events.iter().position(|event| event.ticket() == Some(ticket))?;
            events.remove(index)
        })
    }

    /// Asks, and says whether it was answered; that nothing else was answered is asserted.
    fn is_answered(&self, request: Request, what: &str) -> bool {
        let right = Line::right(&request);
        match (self.ask(request), right) {
            (ClientEvent::TimedOut(exchange, _), _) => {
                assert_eq!(exchange.doubt, None, "{what}");
                false
            }
            (ClientEvent::Answered(_, Response::Registers { values, .. }), Ok(right)) => {
                assert_eq!(values, right, "{what}");
                true
            }
            (ClientEvent::Answered(..), Ok(right)) if right.is_empty() => true,
            (ClientEvent::Exception(_, exception), Err(code)) if exception.code == code => true,
            (other, right) => panic!("{what}: {right:?} or nothing, not {other:?}\n{}", self.world.journal()),
        }
    }

    /// What the device says to this, as values or as the code of an exception.
    fn right(request: &Request) -> Result<Vec<u16>, u8> {
        let values = |first, address, quantity: u16| match address + quantity {
            ..=8 => Ok((0..quantity).map(|index| first + address + index).collect()),
            _ => Err(Exception::ILLEGAL_DATA_ADDRESS),
        };
        match *request {
            Request::ReadHoldingRegisters { address, quantity } => values(100, address, quantity),
            Request::ReadInputRegisters { address, quantity } => values(200, address, quantity),
            _ => Ok(Vec::new()),
        }
    }
}

fn holding(address: u16, quantity: u16) -> Request {
    Request::ReadHoldingRegisters { address, quantity }
}

/// One after the other, of alike and different functions and amounts, with exceptions between.
fn round() -> Vec<Request> {
    vec![
        holding(0, 1),
        holding(1, 1),
        holding(2, 2),
        Request::ReadInputRegisters { address: 0, quantity: 1 },
        holding(9, 1),
        Request::WriteSingleRegister { address: 3, value: 103 },
        holding(3, 1),
        Request::ReadInputRegisters { address: 1, quantity: 1 },
    ]
}

#[test]
fn whatever_the_delay_no_late_answer_is_data_of_another_request() {
    for route in ROUTES {
        let mut answered = 0;
        // From nothing to ten times the time-out, in steps that are no part of it.
        for step in 0..=144 {
            let delay = us(6_944) * step;
            let line = Line::new(route);
            line.delay(delay);
            for request in round() {
                let what = format!("{route:?}, delay {delay:?}, {request:?}");
                answered += u32::from(line.is_answered(request, &what));
            }
            let odd = |event: &ClientEvent| matches!(event, ClientEvent::Unsolicited(_) | ClientEvent::Malformed(..));
            line.world.run_for(secs(2));
            let events = line.client.events();
            assert!(!events.iter().any(odd), "delay {delay:?}: {events:?}");
        }
        // Those that are fast enough are answered whole.
        assert!(answered >= 12 * 8, "{answered}");
    }
}

#[test]
fn one_slow_answer_is_late_and_everything_behind_it_is_right() {
    for route in ROUTES {
        for step in 0..=144 {
            let delay = us(6_944) * step;
            let line = Line::new(route);
            line.delay(delay);
            line.is_answered(holding(0, 1), "the slow one");
            line.delay(Duration::ZERO);
            for request in round() {
                let what = format!("behind a delay of {delay:?}: {request:?}");
                assert!(line.is_answered(request, &what), "{what} was not answered");
            }
        }
    }
}

#[test]
fn several_given_up_in_a_row_leave_nothing_behind() {
    for delay in [ms(150), ms(250), ms(350), ms(990)] {
        let line = Line::new(Route::Rtu);
        line.delay(delay);
        for address in 0..4 {
            assert!(!line.is_answered(holding(address, 1), "slow"), "{delay:?}");
        }
        line.delay(Duration::ZERO);
        for address in 0..8 {
            assert!(line.is_answered(holding(address, 1), "prompt"), "{delay:?}");
        }
    }
}

#[test]
fn a_device_without_power_is_asked_in_vain_and_answers_when_it_has_it_again() {
    let line = Line::new(Route::Rtu);
    line.device.with(|device, now| device.power_off(now));
    for _ in 0..3 {
        assert!(!line.is_answered(holding(0, 1), "without power"));
    }
    line.device.with(|device, now| device.power_on(now));
    assert!(line.is_answered(holding(1, 1), "with power"));
}
