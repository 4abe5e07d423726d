//! Habits of a gateway: named ways in which it departs from what it should do, for saboteurs.

use crate::record::Value;

/// What there is to know about a habit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct GatewayHabit {
    /// Name for `set_habit`.
    pub name: &'static str,
    /// What it does, one line.
    pub what: &'static str,
    /// Requirement rows that it breaks.
    pub breaks: &'static [&'static str],
}

macro_rules! habits {
    ($($name:ident, $what:literal, breaks $breaks:expr;)*) => {
        /// How the gateway behaves; all off is what it should do.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct GatewayHabits {
            $(#[doc = $what] pub $name: bool,)*
        }

        impl GatewayHabits {
            /// Sets a habit by name; `"default"` switches it off.
            ///
            /// # Errors
            /// An unknown name (the text lists all), a value that is neither true nor false.
            pub fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
                let on = match value {
                    Value::Bool(on) => *on,
                    Value::Text(text) if text == "default" => false,
                    other => return Err(format!("habit `{name}` takes true or false, not {other}")),
                };
                match name {
                    $(stringify!($name) => self.$name = on,)*
                    _ => {
                        let names: Vec<&str> = GATEWAY_HABITS.iter().map(|habit| habit.name).collect();
                        return Err(format!("there is no habit `{name}`; there are {}", names.join(", ")));
                    }
                }
                Ok(())
            }
        }

        /// All habits of a gateway, with the requirement rows they break.
        pub const GATEWAY_HABITS: &[GatewayHabit] =
            &[$(GatewayHabit { name: stringify!($name), what: $what, breaks: &$breaks },)*];
    };
}

habits! {
    silent_on_missing, "says nothing about a unit that has no route", breaks ["GW-01"];
    silent_on_failure, "says nothing about a unit that does not answer", breaks ["GW-02"];
    wrong_transaction, "answers with transaction ids of its own", breaks ["GW-03"];
    wrong_unit, "answers with another unit id", breaks ["GW-03"];
    wrong_client, "sends answers to another connection than the one that asked", breaks ["GW-03"];
    parallel_on_wire, "does not wait for its turn on the line", breaks ["GW-04"];
    refuse_broadcasts, "refuses requests to unit 0", breaks ["GW-05"];
    late_to_next, "sends the answer to a client that is gone to the next one", breaks ["GW-06"];
    ignore_own_unit, "says nothing to requests for unit 255", breaks ["GW-07"];
    swallow_exceptions, "says that a unit failed to respond if it answered with an exception", breaks ["GW-08"];
    pass_damaged, "passes on answers whose check sum is wrong", breaks ["GW-09"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_habit_can_be_switched_on_and_off() {
        for habit in GATEWAY_HABITS {
            let mut habits = GatewayHabits::default();
            habits.set(habit.name, &Value::Bool(true)).expect("a habit");
            assert_ne!(habits, GatewayHabits::default());
            habits.set(habit.name, &Value::from("default")).expect("a habit");
            assert_eq!(habits, GatewayHabits::default());
        }
        let error = GatewayHabits::default().set("silent", &Value::Bool(true)).expect_err("unknown");
        assert!(error.starts_with("there is no habit `silent`; there are silent_on_missing"), "{error}");
        assert!(GatewayHabits::default().set("wrong_unit", &Value::Int(3)).is_err());
    }
}
