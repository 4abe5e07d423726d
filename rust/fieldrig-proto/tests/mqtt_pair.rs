//! MQTT clients and the broker against each other on virtual time: every instant is exact.

#![allow(clippy::unwrap_used, reason = "the helpers of these tests fail by panicking")]

#[path = "mqtt/world.rs"]
mod world;

use fieldrig_proto::endpoint::{Endpoint, HIGH_WATER, How, Input, Why};
use fieldrig_proto::mqtt::broker::{BrokerConfig, BrokerEvent};
use fieldrig_proto::mqtt::client::{ClientConfig, ClientEvent, CommandError};
use fieldrig_proto::mqtt::{
    Connect, Disconnect, Packet, Properties, Property, QoS, Subscribe, Subscription, Version, Will,
};
use fieldrig_proto::time::{Duration, Time};
use std::sync::Arc;
use world::{World, config, will};

const BOTH: [Version; 2] = [Version::V311, Version::V5];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_message_goes_from_client_to_client() {
    for (sender, receiver) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new();
        let from = world.connect(config("from", BOTH[sender]));
        let to = world.connect(config("to", BOTH[receiver]));
        let ticket = world.command(to, |client, now| client.subscribe(now, "site/+/alarm", QoS::AtLeastOnce).unwrap());
        let granted = world.events(to).into_iter().find_map(|event| match event {
            ClientEvent::Subscribed { ticket: found, granted, .. } if found == ticket => Some(granted),
            _ => None,
        });
        assert_eq!(granted, Some(vec![1]));
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            world.command(from, |client, now| client.publish(now, "site/a/alarm", b"hot", qos, false).unwrap());
        }
        assert_eq!(world.messages(to), ["site/a/alarm 0 hot", "site/a/alarm 1 hot"]);
        let acked = world.events(from).iter().filter(|event| matches!(event, ClientEvent::Published { .. })).count();
        assert_eq!(acked, 1, "only QoS 1 has an answer");
    }
}

#[test]
fn published_qos_and_granted_qos_give_the_lower_one() {
    let mut world = World::new();
    let from = world.connect(config("from", Version::V311));
    for (granted, expected) in [(QoS::AtMostOnce, ["a 0 0", "a 0 1"]), (QoS::AtLeastOnce, ["a 0 0", "a 1 1"])] {
        let to = world.connect(config(&format!("to{}", granted as u8), Version::V5));
        world.command(to, |client, now| client.subscribe(now, "a", granted).unwrap());
        for (qos, payload) in [(QoS::AtMostOnce, b"0"), (QoS::AtLeastOnce, b"1")] {
            world.command(from, |client, now| client.publish(now, "a", payload, qos, false).unwrap());
        }
        assert_eq!(world.messages(to), expected);
    }
}

#[test]
fn overlapping_filters_give_one_copy_at_the_highest_qos() {
    let mut world = World::new();
    let to = world.connect(config("to", Version::V5));
    for (filter, qos) in [("a/#", QoS::AtMostOnce), ("a/b", QoS::AtLeastOnce), ("+/b", QoS::AtMostOnce)] {
        world.command(to, |client, now| client.subscribe(now, filter, qos).unwrap());
    }
    world.command(to, |client, now| client.publish(now, "a/b", b"x", QoS::AtLeastOnce, false).unwrap());
    assert_eq!(world.messages(to), ["a/b 1 x"]);
    world.command(to, |client, now| client.unsubscribe(now, "a/b").unwrap());
    world.command(to, |client, now| client.publish(now, "a/b", b"y", QoS::AtLeastOnce, false).unwrap());
    assert_eq!(world.messages(to), ["a/b 0 y"], "only the exact filter went");
}

#[test]
fn dollar_topics_are_hidden_from_wildcards() {
    let mut world = World::new();
    let to = world.connect(config("to", Version::V5));
    for filter in ["#", "+/x"] {
        world.command(to, |client, now| client.subscribe(now, filter, QoS::AtMostOnce).unwrap());
    }
    world.publish("$test/x", b"1", false);
    assert_eq!(world.messages(to), [""; 0]);
    world.command(to, |client, now| client.subscribe(now, "$test/#", QoS::AtMostOnce).unwrap());
    world.publish("$test/x", b"2", false);
    assert_eq!(world.messages(to), ["$test/x 0 2"]);
}

#[test]
fn retained_messages_are_stored_replaced_and_cleared() {
    for version in BOTH {
        let mut world = World::new();
        let early = world.connect(config("early", version));
        world.command(early, |client, now| client.subscribe(now, "s/#", QoS::AtLeastOnce).unwrap());
        world.publish("s/a", b"1", true);
        world.publish("s/a", b"2", true);
        world.publish("s/b", b"3", true);
        world.publish("s/b", b"not stored", false);
        let late = world.connect(config("late", version));
        world.command(late, |client, now| client.subscribe(now, "s/+", QoS::AtLeastOnce).unwrap());
        assert_eq!(world.messages(late), ["s/a 1 2 retain", "s/b 1 3 retain"]);
        assert_eq!(world.messages(early), ["s/a 1 1", "s/a 1 2", "s/b 1 3", "s/b 1 not stored"]);
        world.publish("s/a", b"", true);
        assert_eq!(world.messages(early), ["s/a 1 "], "the empty message is delivered");
        world.command(late, |client, now| client.subscribe(now, "s/a", QoS::AtMostOnce).unwrap());
        assert_eq!(world.messages(late), ["s/a 1 "], "and stored no more");
        assert_eq!(world.broker.retained("s/a"), None);
        assert_eq!(world.broker.retained("s/b").as_deref(), Some(&b"3"[..]));
    }
}

#[test]
fn retain_handling_and_retain_as_published_are_kept() {
    let mut world = World::new();
    world.publish("r", b"old", true);
    let to = world.connect(config("to", Version::V5));
    let ask = |world: &mut World, handling, published| {
        let subscription = Subscription {
            retain_handling: handling,
            retain_as_published: published,
            ..Subscription::new("r", QoS::AtMostOnce)
        };
        world.command(to, |client, now| client.subscribe_all(now, vec![subscription]).unwrap());
        world.messages(to)
    };
    assert_eq!(ask(&mut world, 2, false), [""; 0]);
    assert_eq!(ask(&mut world, 1, false), [""; 0], "the subscription was there");
    assert_eq!(ask(&mut world, 0, true), ["r 0 old retain"]);
    world.publish("r", b"new", true);
    assert_eq!(world.messages(to), ["r 0 new retain"]);
}

#[test]
fn an_idle_client_pings_after_three_quarters_of_its_keep_alive() {
    let mut world = World::new();
    let client = world.connect(ClientConfig { keep_alive: 20, ..config("c", Version::V311) });
    let start = world.now;
    assert_eq!(world.client(client).poll_timeout(), Some(start + seconds(15)));
    world.run_for(seconds(10));
    world.command(client, |client, now| client.publish(now, "a", b"", QoS::AtMostOnce, false).unwrap());
    assert_eq!(world.client(client).poll_timeout(), Some(start + seconds(25)), "a packet puts the ping off");
    world.run_for(seconds(300));
    let pings: Vec<u64> = world.sent(client, 0xc0).iter().map(|at| at.since(start).as_secs()).collect();
    assert_eq!(pings, (25..=310).step_by(15).collect::<Vec<u64>>());
    assert!(world.client(client).is_connected());
}

#[test]
fn a_broker_that_does_not_answer_pings_is_given_up() {
    let mut world = World::new();
    let client = world.connect(ClientConfig { keep_alive: 20, ..config("c", Version::V5) });
    world.cut_silently(client);
    world.run_for(seconds(24));
    assert!(world.client(client).is_connected());
    world.run_for(seconds(1));
    let events = world.events(client);
    assert!(
        matches!(events.last(), Some(ClientEvent::Lost { why, .. }) if why == "no PINGRESP within 10s"),
        "{events:?}"
    );
}

#[test]
fn a_silent_client_is_dropped_after_one_and_a_half_keep_alives() {
    for version in BOTH {
        let mut world = World::new();
        let watcher = world.connect(ClientConfig { keep_alive: 0, ..config("watcher", version) });
        world.command(watcher, |client, now| client.subscribe(now, "will", QoS::AtMostOnce).unwrap());
        let silent = world.connect(ClientConfig {
            keep_alive: 10,
            will: Some(will("will", false)),
            ..config("silent", version)
        });
        world.cut_silently(silent);
        world.run_for(Duration::from_millis(14_999));
        assert_eq!(world.messages(watcher), [""; 0]);
        assert_eq!(world.next_due(), Some(Time::ZERO + seconds(15)));
        world.run_for(Duration::from_millis(1));
        assert_eq!(world.messages(watcher), ["will 0 gone"]);
    }
}

#[test]
fn the_server_keep_alive_overrides_the_clients() {
    let config_of_broker = BrokerConfig { server_keep_alive: Some(4), ..BrokerConfig::default() };
    let mut world = World::with(config_of_broker);
    let client = world.connect(ClientConfig { keep_alive: 60, ..config("c", Version::V5) });
    assert_eq!(world.client(client).poll_timeout(), Some(world.now + seconds(3)));
    world.run_for(seconds(60));
    assert!(world.client(client).is_connected());
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    for version in BOTH {
        let mut world = World::new();
        let watcher = world.connect(config("watcher", version));
        world.command(watcher, |client, now| client.subscribe(now, "will", QoS::AtLeastOnce).unwrap());
        let with_will = || ClientConfig { will: Some(will("will", true)), ..config("c", version) };
        let polite = world.connect(with_will());
        world.command(polite, |client, now| client.disconnect(now));
        assert_eq!(world.messages(watcher), [""; 0]);
        let rude = world.connect(with_will());
        world.command(rude, |client, _| client.abort());
        assert_eq!(world.messages(watcher), ["will 1 gone"]);
        assert_eq!(world.broker.retained("will").as_deref(), Some(&b"gone"[..]), "will retain");
        let half_closed = world.connect(with_will());
        world.input_to_broker(half_closed, |conn| Input::Closed(conn, Why::Finished));
        assert_eq!(world.messages(watcher), ["will 1 gone"]);
        let wrong = world.connect(with_will());
        world.command(wrong, |client, now| client.send_raw(now, &[0x36, 5, 0, 1, 97, 0, 1]).unwrap());
        assert_eq!(world.messages(watcher), ["will 1 gone"], "a protocol error");
        let second = world.connect(with_will());
        let other = world.connect(ClientConfig { will: None, ..with_will() });
        assert_eq!(world.messages(watcher), ["will 1 gone"], "a take-over");
        assert!(!world.client(second).is_connected());
        world.command(other, |client, _| client.abort());
        assert_eq!(world.messages(watcher), [""; 0], "a will is used once");
    }
}

#[test]
fn a_delayed_will_waits_and_a_return_cancels_it() {
    let mut world = World::new();
    let watcher = world.connect(ClientConfig { keep_alive: 0, ..config("watcher", Version::V5) });
    world.command(watcher, |client, now| client.subscribe(now, "will", QoS::AtMostOnce).unwrap());
    let mut delayed = will("will", false);
    delayed.properties = Properties::none().with(Property::WillDelay(5));
    let expiry = |count| Properties::none().with(Property::SessionExpiry(count));
    let make = |count| ClientConfig {
        will: Some(delayed.clone()),
        clean_start: false,
        keep_alive: 0,
        properties: expiry(count),
        ..config("c", Version::V5)
    };
    let first = world.connect(make(60));
    world.command(first, |client, _| client.abort());
    world.run_for(seconds(4));
    let second = world.connect(make(60));
    world.run_for(seconds(10));
    assert_eq!(world.messages(watcher), [""; 0], "it came back in time");
    world.command(second, |client, _| client.abort());
    world.run_for(Duration::from_millis(4_999));
    assert_eq!(world.messages(watcher), [""; 0]);
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.messages(watcher), ["will 0 gone"]);
    let third = world.connect(make(2));
    world.command(third, |client, _| client.abort());
    world.run_for(seconds(2));
    assert_eq!(world.messages(watcher), ["will 0 gone"], "the session ends before the delay");
}

#[test]
fn a_second_connection_takes_the_client_id_over() {
    for version in BOTH {
        let mut world = World::new();
        let first = world.connect(config("same", version));
        let second = world.connect(config("same", version));
        assert!(world.client(second).is_connected());
        let lost = world.events(first).into_iter().find_map(|event| match event {
            ClientEvent::Lost { why, code } => Some((why, code)),
            _ => None,
        });
        let expected = match version {
            Version::V311 => ("the broker closed the connection".to_owned(), None),
            Version::V5 => ("the broker disconnected us: 0x8e Session taken over".to_owned(), Some(0x8e)),
        };
        assert_eq!(lost, Some(expected));
        let refused = world.command(first, |client, now| client.publish(now, "a", b"", QoS::AtMostOnce, false));
        assert!(matches!(refused, Err(CommandError::NotConnected(_))), "{refused:?}");
    }
}

#[test]
fn a_kept_session_gets_its_messages_in_order() {
    for version in BOTH {
        let mut world = World::new();
        let mut keeping = ClientConfig { clean_start: false, ..config("keeper", version) };
        if version == Version::V5 {
            keeping.properties = Properties::none().with(Property::SessionExpiry(60));
        }
        let first = world.connect(keeping.clone());
        assert!(!world.session_present(first));
        world.command(first, |client, now| client.subscribe(now, "q/#", QoS::AtLeastOnce).unwrap());
        world.command(first, |client, now| client.disconnect(now));
        for count in 0..5 {
            world.broker_publish(&format!("q/{count}"), b"x", QoS::AtLeastOnce);
            world.broker_publish("q/lost", b"QoS 0 is not kept", QoS::AtMostOnce);
        }
        let second = world.connect(keeping.clone());
        assert!(world.session_present(second));
        assert_eq!(world.messages(second), ["q/0 1 x", "q/1 1 x", "q/2 1 x", "q/3 1 x", "q/4 1 x"]);
        world.command(second, |client, now| client.disconnect(now));
        world.connect(ClientConfig { clean_start: true, ..config("keeper", version) });
        let third = world.connect(keeping);
        assert!(!world.session_present(third), "a clean start forgets");
    }
}

#[test]
fn a_session_ends_with_its_expiry() {
    let mut world = World::new();
    let keeping = ClientConfig {
        clean_start: false,
        properties: Properties::none().with(Property::SessionExpiry(30)),
        ..config("keeper", Version::V5)
    };
    for (away, present) in [(29, true), (30, false)] {
        let client = world.connect(keeping.clone());
        world.command(client, |client, now| client.disconnect(now));
        world.run_for(seconds(away));
        let client = world.connect(keeping.clone());
        assert_eq!(world.session_present(client), present, "after {away} s");
        world.command(client, |client, now| client.disconnect(now));
        world.run_for(seconds(31));
    }
}

#[test]
fn unacknowledged_messages_come_again_with_dup_and_their_identifiers() {
    let mut world = World::new();
    let mut peer = world.raw();
    let connect = Packet::Connect(Box::new(Connect {
        client_id: "raw".into(),
        version: Version::V311,
        clean_start: false,
        ..Connect::default()
    }));
    let subscriptions = vec![Subscription::new("a", QoS::AtLeastOnce)];
    let subscribe = Packet::Subscribe(Subscribe { packet_id: 9, subscriptions, ..Subscribe::default() });
    peer.send(&mut world, Version::V311, &[connect.clone(), subscribe]);
    world.broker_publish("a", b"1", QoS::AtLeastOnce);
    world.broker_publish("a", b"2", QoS::AtLeastOnce);
    let ids = peer.publishes(&mut world);
    assert_eq!(ids.iter().map(|publish| publish.dup).collect::<Vec<_>>(), [false, false]);
    peer.close(&mut world, Why::Reset);
    let mut again = world.raw();
    again.send(&mut world, Version::V311, &[connect]);
    let resent = again.publishes(&mut world);
    assert_eq!(
        resent.iter().map(|p| (p.packet_id, p.dup)).collect::<Vec<_>>(),
        [(ids[0].packet_id, true), (ids[1].packet_id, true)]
    );
}

#[test]
fn the_receive_maximum_of_a_client_holds_the_broker_back() {
    let mut world = World::new();
    let mut peer = world.raw();
    let connect = Packet::Connect(Box::new(Connect {
        client_id: "raw".into(),
        clean_start: true,
        properties: Properties::none().with(Property::ReceiveMaximum(2)),
        ..Connect::default()
    }));
    let subscriptions = vec![Subscription::new("a", QoS::AtLeastOnce)];
    let subscribe = Packet::Subscribe(Subscribe { packet_id: 9, subscriptions, ..Subscribe::default() });
    peer.send(&mut world, Version::V5, &[connect, subscribe]);
    for payload in [b"1", b"2", b"3"] {
        world.broker_publish("a", payload, QoS::AtLeastOnce);
    }
    world.broker_publish("a", b"0", QoS::AtMostOnce);
    let first = peer.publishes(&mut world);
    let payloads: Vec<&[u8]> = first.iter().map(|publish| &*publish.payload).collect();
    assert_eq!(payloads, [b"1", b"2", b"0"], "QoS 0 is not held back");
    peer.send(&mut world, Version::V5, &[Packet::PubAck(fieldrig_proto::mqtt::Ack::new(first[0].packet_id))]);
    assert_eq!(peer.publishes(&mut world).len(), 1);
}

#[test]
fn the_receive_maximum_of_a_broker_holds_the_client_back() {
    let mut peer = world::ScriptedBroker::accept(
        config("c", Version::V5),
        Properties::none().with(Property::ReceiveMaximum(1)).with(Property::MaximumPacketSize(60)),
    );
    let first = peer.client.publish(peer.now, "a", b"1", QoS::AtLeastOnce, false).unwrap();
    let second = peer.client.publish(peer.now, "a", b"2", QoS::AtLeastOnce, false).unwrap();
    peer.client.publish(peer.now, "a", b"0", QoS::AtMostOnce, false).unwrap();
    let sent = peer.packets();
    assert_eq!(sent.len(), 2, "the second QoS 1 message waits: {sent:?}");
    assert!(peer.client.is_outstanding(second));
    let Packet::Publish(publish) = &sent[0] else { panic!("{sent:?}") };
    peer.answer(&Packet::PubAck(fieldrig_proto::mqtt::Ack::new(publish.packet_id)));
    assert!(!peer.client.is_outstanding(first));
    assert!(matches!(&peer.packets()[..], [Packet::Publish(publish)] if &*publish.payload == b"2"));
    let refused = peer.client.publish(peer.now, "a", &[0; 60], QoS::AtMostOnce, false);
    assert_eq!(refused, Err(CommandError::TooLarge { size: 66, maximum: 60 }));
}

#[test]
fn a_topic_alias_above_what_the_broker_announced_is_refused() {
    let announced = Properties::none().with(Property::TopicAliasMaximum(2));
    let mut peer = world::ScriptedBroker::accept(config("c", Version::V5), announced);
    let with = |alias| Properties::none().with(Property::TopicAlias(alias));
    peer.client.publish_with(peer.now, "a", b"", QoS::AtMostOnce, false, &with(2)).unwrap();
    assert_eq!(peer.packets().len(), 1);
    let refused = peer.client.publish_with(peer.now, "a", b"", QoS::AtMostOnce, false, &with(3));
    assert_eq!(refused, Err(CommandError::TopicAlias { alias: 3, maximum: 2 }));
}

#[test]
fn the_event_of_a_broken_connect_does_not_hold_its_password() {
    let mut world = World::new();
    let mut peer = world.raw();
    let connect = Connect {
        client_id: "c".into(),
        username: Some("u".into()),
        password: Some(b"secret".to_vec()),
        ..Connect::default()
    };
    let mut bytes = Vec::new();
    fieldrig_proto::mqtt::encode(&Packet::Connect(Box::new(connect)), Version::V5, &mut bytes).unwrap();
    bytes[9] |= 1;
    peer.send_bytes(&mut world, &bytes);
    let events = world.broker_events();
    let Some(BrokerEvent::Violation { packet, violation, .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(violation.statement, "MQTT-3.1.2-3");
    assert_eq!(packet, &bytes[..12]);
}

#[test]
fn packet_identifiers_stay_unique_across_kinds_and_the_wrap() {
    let mut peer = world::ScriptedBroker::accept(config("c", Version::V311), Properties::none());
    peer.client.publish(peer.now, "a", b"", QoS::AtLeastOnce, false).unwrap();
    peer.client.subscribe(peer.now, "a", QoS::AtMostOnce).unwrap();
    let kept: Vec<u16> = peer.packets().iter().map(world::packet_id).collect();
    for _ in 0..66_000u32 {
        peer.client.publish(peer.now, "a", b"", QoS::AtLeastOnce, false).unwrap();
        let id = world::packet_id(&peer.packets()[0]);
        assert!(id != 0 && !kept.contains(&id));
        peer.answer(&Packet::PubAck(fieldrig_proto::mqtt::Ack::new(id)));
    }
    assert_eq!(peer.client.outstanding(), 2);
}

#[test]
fn what_is_outstanding_fails_with_the_connection() {
    let mut peer = world::ScriptedBroker::accept(config("c", Version::V311), Properties::none());
    let publish = peer.client.publish(peer.now, "a", b"", QoS::AtLeastOnce, false).unwrap();
    let subscribe = peer.client.subscribe(peer.now, "a", QoS::AtMostOnce).unwrap();
    peer.events();
    peer.close(Why::Reset);
    let why = "the broker reset the connection".to_owned();
    assert_eq!(
        peer.events(),
        [
            ClientEvent::Failed { ticket: publish, why: why.clone() },
            ClientEvent::Failed { ticket: subscribe, why: why.clone() },
            ClientEvent::Lost { why: why.clone(), code: None },
        ]
    );
    let refused = peer.client.publish(peer.now, "a", b"", QoS::AtMostOnce, false);
    assert_eq!(refused, Err(CommandError::NotConnected(why)));
}

#[test]
fn a_broker_that_breaks_rules_is_named_and_left() {
    use fieldrig_proto::mqtt::{ConnAck, Publish, SubAck};
    let publish = |qos, id| {
        let (topic, payload) = (Arc::from("a"), Arc::from([]));
        let properties = Properties::none();
        Packet::Publish(Publish { dup: false, qos, retain: false, topic, packet_id: id, properties, payload })
    };
    for (packet, statement) in [
        (Packet::ConnAck(ConnAck::default()), "MQTT-3.2.0-2"),
        (publish(QoS::ExactlyOnce, 1), "MQTT-3.8.4-8"),
        (Packet::PingReq, "MQTT-4.13.1-1"),
        (Packet::Auth(fieldrig_proto::mqtt::Auth::default()), "MQTT-4.12.0-7"),
    ] {
        let mut peer = world::ScriptedBroker::accept(config("c", Version::V5), Properties::none());
        peer.answer(&packet);
        let events = peer.events();
        let named = events.iter().any(|event| {
            matches!(event, ClientEvent::Violation { violation, fatal: true, .. } if violation.statement == statement)
        });
        assert!(named, "{events:?}");
        assert!(!peer.client.is_connected());
        assert!(matches!(&peer.packets()[..], [Packet::Disconnect(end)] if end.code >= 0x80));
        assert_eq!(peer.closed, Some(How::Fin));
    }
    let mut peer = world::ScriptedBroker::accept(config("c", Version::V5), Properties::none());
    peer.answer(&Packet::SubAck(SubAck { packet_id: 77, codes: vec![0], ..SubAck::default() }));
    assert!(matches!(&peer.events()[1..], [ClientEvent::Violation { fatal: false, .. }]));
    assert!(peer.client.is_connected(), "an answer nobody asked for is an event");
    let mut early = world::ScriptedBroker::new(config("c", Version::V311));
    early.answer(&publish(QoS::AtMostOnce, 0));
    assert!(matches!(&early.events()[..], [
        ClientEvent::Violation { violation, .. },
        ClientEvent::Lost { .. }
    ] if violation.statement == "MQTT-3.2.0-1"));
}

#[test]
fn a_refusal_is_reported_with_its_name() {
    let mut peer = world::ScriptedBroker::new(config("c", Version::V311));
    peer.answer(&Packet::ConnAck(fieldrig_proto::mqtt::ConnAck { code: 5, ..Default::default() }));
    let events = peer.events();
    assert!(matches!(events[0], ClientEvent::Refused { code: 5, .. }));
    assert!(matches!(&events[1], ClientEvent::Lost { why, .. } if why.ends_with("0x05 not authorized")), "{events:?}");
}

#[test]
fn no_connack_in_time_is_a_loss() {
    let mut peer = world::ScriptedBroker::new(config("c", Version::V5));
    let due = peer.client.poll_timeout().unwrap();
    assert_eq!(due, peer.now + seconds(10));
    peer.client.handle_timeout(due);
    assert!(matches!(&peer.events()[..], [ClientEvent::Lost { why, .. }] if why == "no CONNACK within 10s"));
}

#[test]
fn a_slow_subscriber_delays_nobody_and_bounds_the_memory() {
    let limits = BrokerConfig { queue_messages: 10, ..BrokerConfig::default() };
    let mut world = World::with(limits);
    let (slow, quick) = (world.connect(config("slow", Version::V5)), world.connect(config("quick", Version::V311)));
    for client in [slow, quick] {
        world.command(client, |client, now| client.subscribe(now, "flood", QoS::AtMostOnce).unwrap());
    }
    world.stall(slow);
    let payload = vec![7u8; 32 * 1024];
    for _ in 0..30 {
        world.broker_publish("flood", &payload, QoS::AtMostOnce);
    }
    assert_eq!(world.messages(quick).len(), 30);
    let handed = world.stalled_bytes(slow);
    assert!((HIGH_WATER..HIGH_WATER + 40 * 1024).contains(&handed), "{handed}");
    let info = world.broker.clients().find(|info| &*info.client_id == "slow").unwrap();
    let sent = handed / payload.len();
    assert_eq!((info.queued, info.dropped), (10, 20 - sent as u64));
    world.release(slow);
    assert_eq!(world.messages(slow).len(), sent + 10);
    let told: u64 = world
        .broker_events()
        .iter()
        .filter_map(|event| match event {
            BrokerEvent::Dropped { messages, .. } => Some(*messages),
            _ => None,
        })
        .sum();
    assert_eq!(told, info.dropped, "every drop is told");
}

#[test]
fn a_marker_is_told_what_was_dropped_and_how_long_ago() {
    let mut world = World::with(BrokerConfig { queue_messages: 1, ..BrokerConfig::default() });
    let (slow, quick) = (world.connect(config("slow", Version::V5)), world.connect(config("quick", Version::V311)));
    world.command(slow, |client, now| client.subscribe(now, "flood", QoS::AtMostOnce).unwrap());
    world.stall(slow);
    for _ in 0..20 {
        world.broker_publish("flood", &[0; 32 * 1024], QoS::AtMostOnce);
    }
    world.release(slow);
    let dropped = world.broker.clients().find(|info| &*info.client_id == "slow").unwrap().dropped;
    assert!(dropped > 0);
    world.run_for(seconds(3));
    for (client, expected) in
        [(slow, format!("dropped={dropped} last_ns=3000000000")), (quick, "dropped=0 last_ns=0".into())]
    {
        let topic = format!("{}{expected}", fieldrig_proto::mqtt::witness::PREFIX);
        world.command(client, |client, now| client.subscribe(now, &topic, QoS::AtLeastOnce).unwrap());
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            world.command(client, |client, now| client.publish(now, &topic, b"", qos, false).unwrap());
            let told = world.messages(client).pop().unwrap();
            assert_eq!(told, format!("{topic} {} {expected}", qos as u8));
        }
    }
}

#[test]
fn an_acknowledgement_passes_a_full_connection() {
    let mut world = World::new();
    let slow = world.connect(config("slow", Version::V5));
    world.command(slow, |client, now| client.subscribe(now, "flood", QoS::AtMostOnce).unwrap());
    world.stall(slow);
    for _ in 0..20 {
        world.broker_publish("flood", &[0; 32 * 1024], QoS::AtMostOnce);
    }
    let before = world.stalled_bytes(slow);
    world.command(slow, |client, now| client.publish(now, "x", b"", QoS::AtLeastOnce, false).unwrap());
    assert_eq!(world.stalled_bytes(slow), before + 4, "the PUBACK");
}

#[test]
fn exactly_once_is_refused_as_each_version_can_say_it() {
    for version in BOTH {
        let mut world = World::new();
        let client = world.connect(config("c", version));
        let refused = world.command(client, |client, now| client.publish(now, "a", b"", QoS::ExactlyOnce, false));
        assert_eq!(refused, Err(CommandError::ExactlyOnce));
        let mut publish = vec![0x34, 5, 0, 1, b'a', 0, 1];
        if version == Version::V5 {
            publish[1] = 6;
            publish.push(0);
        }
        world.command(client, |client, now| client.send_raw(now, &publish).unwrap());
        let lost = world.events(client).into_iter().find_map(|event| match event {
            ClientEvent::Lost { code, .. } => Some(code),
            _ => None,
        });
        assert_eq!(lost, Some((version == Version::V5).then_some(0x9b)));
        let unsupported = world.broker_events().iter().any(|event| matches!(event, BrokerEvent::Unsupported { .. }));
        assert_eq!(unsupported, version == Version::V311);
    }
}

#[test]
fn mqtt_5_is_told_what_the_broker_does_not_do() {
    let mut world = World::new();
    let client = world.connect(ClientConfig { client_id: String::new(), ..config("", Version::V5) });
    let properties = world.connack_properties(client);
    assert_eq!((properties.maximum_qos(), properties.shared_available()), (Some(&1), Some(&0)));
    assert_eq!(world.client(client).client_id(), "fieldrig-1");
    let ticket = world.command(client, |client, now| client.subscribe(now, "$share/g/a", QoS::AtMostOnce).unwrap());
    let events = world.events(client);
    let refused = events.iter().any(|event| {
        matches!(event, ClientEvent::Subscribed { ticket: found, granted, .. } if *found == ticket && granted == &[0x9e])
    });
    assert!(refused, "{events:?}");
}

#[test]
fn connect_rules_are_held() {
    let connect = |edit: &dyn Fn(&mut Connect)| {
        let mut connect =
            Connect { client_id: "c".into(), clean_start: true, version: Version::V311, ..Connect::default() };
        edit(&mut connect);
        Packet::Connect(Box::new(connect))
    };
    // Packet, answer in hex (empty: closed without a byte).
    let empty_kept = connect(&|connect| {
        connect.client_id.clear();
        connect.clean_start = false;
    });
    let two_wills = connect(&|connect| {
        connect.version = Version::V5;
        connect.will = Some(Will { qos: QoS::ExactlyOnce, ..will("w", false) });
    });
    let method = connect(&|connect| {
        connect.version = Version::V5;
        connect.properties = Properties::none().with(Property::AuthenticationMethod("x".into()));
    });
    for (packet, version, answer) in [
        (empty_kept, Version::V311, "20 02 00 02"),
        (two_wills, Version::V5, "20 03 00 9b 00"),
        (method, Version::V5, "20 03 00 8c 00"),
        (Packet::PingReq, Version::V311, ""),
        (connect(&|_| ()), Version::V311, "20 02 00 00"),
    ] {
        let mut world = World::new();
        let mut peer = world.raw();
        peer.send(&mut world, version, std::slice::from_ref(&packet));
        assert_eq!(fieldrig_proto::dissect::hex(&peer.bytes(&mut world)), answer, "{packet:?}");
        assert_eq!(peer.is_closed(&world), !answer.ends_with("00 00"), "{packet:?}");
    }
    for (level, answer) in [(3u8, "20 02 00 01"), (6, "20 02 00 01"), (0x84, "20 02 00 01")] {
        let mut world = World::new();
        let mut peer = world.raw();
        peer.send_bytes(&mut world, &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 0, 0, 1, b'c']);
        assert_eq!(fieldrig_proto::dissect::hex(&peer.bytes(&mut world)), answer);
        assert!(peer.is_closed(&world));
    }
    let mut world = World::new();
    let mut peer = world.raw();
    peer.send(&mut world, Version::V311, &[connect(&|_| ()), connect(&|_| ())]);
    assert!(peer.is_closed(&world), "a second CONNECT");
}

#[test]
fn a_connection_without_connect_is_closed_in_time() {
    let mut world = World::new();
    let peer = world.raw();
    world.run_for(Duration::from_millis(9_999));
    assert!(!peer.is_closed(&world));
    world.run_for(Duration::from_millis(1));
    assert!(peer.is_closed(&world));
}

#[test]
fn a_half_closed_client_still_gets_its_answers() {
    let mut world = World::new();
    let mut peer = world.raw();
    let connect = Packet::Connect(Box::new(Connect { client_id: "c".into(), clean_start: true, ..Connect::default() }));
    peer.send(&mut world, Version::V5, &[connect]);
    peer.bytes(&mut world);
    peer.send_bytes(&mut world, &[0x32, 6, 0, 1, b'a', 0, 7, 0]);
    peer.close(&mut world, Why::Finished);
    assert_eq!(peer.bytes(&mut world), [0x40, 2, 0, 7]);
    assert!(peer.is_closed(&world));
}

#[test]
fn message_expiry_counts_down_and_drops() {
    let mut world = World::new();
    let keeping = ClientConfig {
        clean_start: false,
        properties: Properties::none().with(Property::SessionExpiry(600)),
        ..config("keeper", Version::V5)
    };
    let keeper = world.connect(keeping.clone());
    world.command(keeper, |client, now| client.subscribe(now, "e", QoS::AtLeastOnce).unwrap());
    world.command(keeper, |client, now| client.disconnect(now));
    let from = world.connect(ClientConfig { keep_alive: 0, ..config("from", Version::V5) });
    for (payload, expiry) in [(b"short", 2), (b"long.", 10)] {
        let properties =
            Properties::none().with(Property::MessageExpiry(expiry)).with(Property::ContentType("t".into()));
        world.command(from, |client, now| {
            client.publish_with(now, "e", payload, QoS::AtLeastOnce, false, &properties).unwrap()
        });
    }
    world.run_for(seconds(3));
    let keeper = world.connect(keeping);
    let message = world.client(keeper).messages_since(0).next().unwrap().clone();
    assert_eq!(world.messages(keeper), ["e 1 long."]);
    assert_eq!(message.properties.message_expiry(), Some(&7));
    assert_eq!(message.properties.content_type().map(String::as_str), Some("t"));
}

#[test]
fn a_client_that_takes_small_packets_gets_no_large_ones() {
    let mut world = World::new();
    let small = ClientConfig { maximum_packet: 64, ..config("small", Version::V5) };
    let client = world.connect(small);
    world.command(client, |client, now| client.subscribe(now, "m", QoS::AtLeastOnce).unwrap());
    world.broker_publish("m", &[b'x'; 200], QoS::AtLeastOnce);
    world.broker_publish("m", b"small", QoS::AtLeastOnce);
    assert_eq!(world.messages(client), ["m 1 small"]);
    assert!(world.client(client).is_connected());
}

#[test]
fn no_local_keeps_own_messages_away() {
    let mut world = World::new();
    let client = world.connect(config("c", Version::V5));
    let subscription = Subscription { no_local: true, ..Subscription::new("a", QoS::AtMostOnce) };
    world.command(client, |client, now| client.subscribe_all(now, vec![subscription]).unwrap());
    world.command(client, |client, now| client.publish(now, "a", b"own", QoS::AtMostOnce, false).unwrap());
    world.publish("a", b"other", false);
    assert_eq!(world.messages(client), ["a 0 other"]);
}

#[test]
fn the_owner_can_throw_a_client_out() {
    let mut world = World::new();
    let client = world.connect(config("c", Version::V5));
    let now = world.now;
    assert!(world.broker.disconnect(now, "c", How::Fin, Some(0x98)));
    assert!(!world.broker.disconnect(now, "c", How::Fin, None));
    world.settle();
    let events = world.events(client);
    assert!(matches!(events.last(), Some(ClientEvent::Lost { code: Some(0x98), .. })), "{events:?}");
}

#[test]
fn disconnect_with_will_asks_for_the_will() {
    let mut world = World::new();
    let watcher = world.connect(config("watcher", Version::V5));
    world.command(watcher, |client, now| client.subscribe(now, "will", QoS::AtMostOnce).unwrap());
    let client = world.connect(ClientConfig { will: Some(will("will", false)), ..config("c", Version::V5) });
    let end = Packet::Disconnect(Disconnect { code: 4, properties: Properties::none() });
    let mut bytes = Vec::new();
    fieldrig_proto::mqtt::encode(&end, Version::V5, &mut bytes).unwrap();
    world.command(client, |client, now| client.send_raw(now, &bytes).unwrap());
    assert_eq!(world.messages(watcher), ["will 0 gone"]);
}
