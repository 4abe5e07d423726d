//! The embedded MQTT broker on a TCP port, until its standard input ends: for trying foreign clients against it.
//!
//! ```sh
//! cargo run --release -p fieldrig-engine --example mqtt_broker -- 127.0.0.1:1883
//! ```

use fieldrig_engine::{Binding, PortSpec, Rig, RigOptions};
use fieldrig_proto::dissect::Sender;
use fieldrig_proto::mqtt::V5;
use fieldrig_proto::mqtt::broker::{Broker, BrokerEvent};
use fieldrig_proto::time::Duration;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let rig = Rig::start(RigOptions::default())?;
    let port = PortSpec::parse(&format!("tcp-listen://{address}"))?;
    let binding = Binding { via: "mqtt".to_owned(), port, protocol: Some(&V5), we_are: Sender::Server };
    let node = rig.open("broker", Broker::default(), vec![binding])?;
    println!("listening on {}", node.address("mqtt").unwrap_or_default());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            let deadline = rig.now() + Duration::from_millis(200);
            let events = node.wait(
                deadline,
                |_, events, _| (!events.is_empty()).then(|| events.drain(..).collect::<Vec<BrokerEvent>>()),
                &mut || true,
            )?;
            for event in events.into_iter().flatten() {
                println!("{event:?}");
            }
        }
        rig.stop();
        Ok(())
    })
}
