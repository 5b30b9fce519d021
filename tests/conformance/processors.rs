//! The fixed vocabulary of processors (FORMAT.md section 5.7), the same steps for `process` and `process_values`.
//!
//! A step sees the engine through [`Port`], which is all that the two kinds of processor have in common.

use highwater::{BoxError, Headers};

use super::functions::{Boom, split_spec};
use super::store_commands::{self, AnyStore};
use super::value::{Type, Val, num, text};

/// What passes through a step.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Val,
    pub(crate) value: Val,
    pub(crate) timestamp: i64,
    pub(crate) headers: Headers,
}

/// A repeated call to [`Step::tick`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) wall: bool,
    pub(crate) every_ms: i64,
    pub(crate) start_ms: Option<i64>,
}

/// What a step asks of the processor it runs in.
pub(crate) trait Port {
    fn forward(&mut self, item: Item);
    fn forward_to(&mut self, child: &str, item: Item);
    /// `topic/partition/offset` of the record being processed, `none` without one.
    fn metadata(&self) -> String;
    fn stream_time(&self) -> i64;
    fn wall_clock(&self) -> i64;
    fn schedule(&mut self, schedule: Schedule);
    /// Ends the only schedule of this step.
    fn cancel(&mut self);
}

/// The outcome of a step.
pub(crate) type Done = Result<(), BoxError>;

/// A processor by its name, before it is made for a task.
#[derive(Clone, Debug)]
pub(crate) struct StepSpec {
    name: String,
    argument: String,
}

impl StepSpec {
    pub(crate) fn new(spec: &str) -> StepSpec {
        let (name, argument) = split_spec(spec);
        StepSpec { name: name.to_owned(), argument: argument.to_owned() }
    }

    /// The type of the values it forwards.
    pub(crate) fn value_type(&self, value: &Type) -> Type {
        match self.name.as_str() {
            "append" | "twice" | "metadata" | "times" | "lookup" | "ticks" | "store_ops" => Type::Str,
            "count" => Type::Long,
            "forward" | "drop" | "add_header" | "remove_header" | "clear_headers" | "shift_ts" | "throw_if" | "route" | "dedup"
            | "store_put" | "collect" | "throw_on_tick" => value.clone(),
            other => panic!("invalid scenario: unknown processor {other}"),
        }
    }

    /// The store that it uses, connected or not.
    pub(crate) fn store(&self) -> Option<&str> {
        match self.name.as_str() {
            "count" | "dedup" | "store_put" | "lookup" | "store_ops" => Some(&self.argument),
            "collect" => self.argument.split(',').next(),
            _ => None,
        }
    }

    /// One of a task's own.
    pub(crate) fn start(&self, store: Option<AnyStore>) -> Step {
        Step { spec: self.clone(), store, fired: 0 }
    }
}

/// A processor of a task.
pub(crate) struct Step {
    spec: StepSpec,
    store: Option<AnyStore>,
    fired: i64,
}

impl Step {
    fn arguments(&self) -> Vec<&str> {
        self.spec.argument.split(',').collect()
    }

    fn store(&mut self) -> &mut AnyStore {
        self.store.as_mut().expect("a step that uses a store was given it")
    }

    /// What its `init` schedules.
    pub(crate) fn init(&mut self, port: &mut dyn Port) {
        let arguments = self.arguments();
        let (kind, interval, start) = match self.spec.name.as_str() {
            "collect" => (1, 2, 3),
            "ticks" => (0, 1, 3),
            "throw_on_tick" => (0, 1, usize::MAX),
            _ => return,
        };
        let number = |at: usize| arguments.get(at).map(|text| text.parse::<i64>().expect("a schedule is written in numbers"));
        let every_ms = number(interval).expect("a schedule has an interval");
        port.schedule(Schedule { wall: arguments[kind] == "wall", every_ms, start_ms: number(start) });
    }

    pub(crate) fn process(&mut self, item: Item, port: &mut dyn Port) -> Done {
        let argument = self.spec.argument.clone();
        match self.spec.name.as_str() {
            "forward" | "throw_on_tick" => port.forward(item),
            "drop" => {}
            "append" => {
                let value = item.value.map_some(|v| Val::Str(text(v) + &argument));
                port.forward(Item { value, ..item });
            }
            "twice" => {
                for n in 1..=2 {
                    port.forward(Item { value: Val::Str(format!("{}#{n}", text(&item.value))), ..item.clone() });
                }
            }
            "add_header" | "remove_header" | "clear_headers" => {
                let headers = self.headers(&item.headers);
                port.forward(Item { headers, ..item });
            }
            "shift_ts" => {
                let by: i64 = argument.parse().expect("a shift is a number");
                port.forward(Item { timestamp: item.timestamp + by, ..item });
            }
            "metadata" => {
                let value = Val::Str(port.metadata());
                port.forward(Item { value, ..item });
            }
            "times" => {
                let value = format!("{} stream={} wall={}", text(&item.value), port.stream_time(), port.wall_clock());
                port.forward(Item { value: Val::Str(value), ..item });
            }
            "throw_if" if !item.value.is_null() && text(&item.value) == argument => return Err(Boom.into()),
            "throw_if" => port.forward(item),
            "route" => {
                let (a, b) = argument.split_once(',').expect("a route has two children");
                let child = if !item.value.is_null() && text(&item.value).starts_with('a') { a } else { b };
                port.forward_to(child, item);
            }
            "ticks" => port.forward(Item { value: Val::Str(text(&item.value)), ..item }),
            _ => return self.with_store(item, port),
        }
        Ok(())
    }

    fn headers(&self, of: &Headers) -> Headers {
        let mut headers = of.clone();
        match self.spec.name.as_str() {
            "add_header" => {
                let (name, value) = self.spec.argument.split_once('=').expect("a header is written `name=value`");
                headers.add(name, value);
            }
            "remove_header" => headers.remove(&self.spec.argument),
            _ => headers = Headers::default(),
        }
        headers
    }

    fn with_store(&mut self, item: Item, port: &mut dyn Port) -> Done {
        let name = self.spec.name.clone();
        match name.as_str() {
            "lookup" => {
                let row = if item.key.is_null() { "null".to_owned() } else { self.store().get_text(&item.key)? };
                let value = Val::Str(format!("{}/{row}", text(&item.value)));
                port.forward(Item { value, ..item });
            }
            "store_ops" => {
                let command = text(&item.value);
                let outcome = store_commands::run(self.store(), &item.key, &command, item.timestamp)?;
                port.forward(Item { value: Val::Str(format!("{command} => {outcome}")), ..item });
            }
            _ if item.key.is_null() => {}
            "count" => {
                let value = Val::Long(num(&self.store().get(&item.key)?) + 1);
                self.store().put(&item.key, &value, item.timestamp)?;
                port.forward(Item { value, ..item });
            }
            "dedup" => {
                if !item.value.is_null() && text(&item.value) == text(&self.store().get(&item.key)?) {
                    return Ok(());
                }
                self.store().put(&item.key, &item.value, item.timestamp)?;
                port.forward(item);
            }
            "store_put" | "collect" => self.store().put(&item.key, &item.value, item.timestamp)?,
            other => panic!("invalid scenario: unknown processor {other}"),
        }
        Ok(())
    }

    /// A schedule is due.
    pub(crate) fn tick(&mut self, now: i64, port: &mut dyn Port) -> Done {
        match self.spec.name.as_str() {
            "collect" => {
                for (key, value) in self.store().all()? {
                    port.forward(Item { key: key.clone(), value, timestamp: now, headers: Headers::default() });
                    self.store().put(&key, &Val::Null, now)?;
                }
            }
            "ticks" => {
                let arguments = self.arguments();
                let value = Val::Str(format!("{} {now} metadata={}", arguments[0], port.metadata()));
                port.forward(Item { key: Val::str("tick"), value, timestamp: now, headers: Headers::default() });
                let limit = arguments.get(2).map(|count| count.parse::<i64>().expect("a count is a number"));
                self.fired += 1;
                if limit == Some(self.fired) {
                    port.cancel();
                }
            }
            _ => return Err(Boom.into()),
        }
        Ok(())
    }
}
