//! Every operator of the DSL, called once as an author would: what compiles here is the public surface.

use std::time::Duration;

use highwater::serdes::{Json, Utf8};
use highwater::{
    EmitStrategy, Grouped, Joined, KeyValueStore, Materialized, OnError, Produced, Repartitioned, Row, SessionWindows, SlidingWindows,
    StoreRef, StreamsBuilder, Suppressed, TimeWindows, Timestamp, Topic, TopologyTestDriver, Unnamed, Windowed, default_serde,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: String,
    customer: String,
    region: String,
    cents: i64,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Customer {
    name: String,
}
default_serde!(Order, Customer => Json);

const ORDERS: Topic<String, Order> = Topic::new("orders");
const CUSTOMERS: Topic<String, Customer> = Topic::new("customers");
const WORDS: Topic<String, i64> = Topic::new("words");
const MINUTE: Duration = Duration::from_secs(60);

fn order(id: &str, customer: &str, region: &str, cents: i64) -> Order {
    Order { id: id.into(), customer: customer.into(), region: region.into(), cents }
}

#[test]
fn stateless_operators() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream(ORDERS);
    let large = orders.filter(|_, order| order.cents > 100).named("large");
    large.filter_not(|key, _| key.is_empty()).peek(|key, order| assert!(key.len() as i64 <= order.cents));
    orders.map(|_, order| (order.customer, order.cents)).to(WORDS);
    orders.map_values(|order| order.cents).to(WORDS);
    orders.map_values_with_key(|key, order| format!("{key}{}", order.id));
    orders.flat_map(|_, order| [(order.region, 1), (order.customer, 2)]);
    orders.filter_map_values(|order| (order.cents > 0).then_some(order.id));
    orders.select_key(|_, order| order.region.clone()).repartition("by-region").group_by_key().count("per-region");
    orders.for_each(|_, order| drop(order));
    orders.for_each(|_, order| if order.cents < 0 { Err("negative") } else { Ok(()) }).named("check");
    orders.try_map_values(|order| order.id.parse::<i64>()).on_error(OnError::Skip).to(WORDS);
    orders.try_map(|_, order| order.id.parse::<i64>().map(|id| (order.region, id)));
    orders.try_select_key(|_, order| order.id.parse::<i64>());
    orders.filter(|_, order| order.id.parse::<i64>().map(|id| id > 3));

    let mut regions = orders.split();
    let europe = regions.branch(|_, order| order.region == "eu");
    let america = regions.branch(|_, order| order.region == "us");
    let elsewhere = regions.rest();
    europe.merge(&america).merge(&elsewhere).to(Produced::with(ORDERS.clone()).partition_by(|_, _, partitions| partitions - 1));
    orders.to_each(ORDERS, |_, order, _| format!("orders-{}", order.map_or("none", |order| &order.region)));
    builder.build().expect("the topology is valid");
}

#[test]
fn groups_windows_and_aggregates() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream(ORDERS);
    let by_customer = || orders.group_by(|_, order| order.customer.clone());

    by_customer().count("count");
    by_customer().reduce("latest", |_, new| new);
    by_customer().aggregate("sum", || 0_i64, |_, order, sum| *sum += order.cents);
    by_customer().aggregate("open", Vec::new, |_, order, open: &mut Vec<u8>| {
        open.push(order.cents as u8);
        if open.len() > 9 { Row::Delete } else { Row::Keep }
    });
    by_customer().aggregate(
        "checked",
        || 0_i64,
        |_, order, sum| {
            *sum = sum.checked_add(order.cents).ok_or("overflow")?;
            Ok::<_, &str>(())
        },
    );
    by_customer().windowed_by(TimeWindows::of(MINUTE).grace(MINUTE)).count("tumbling");
    by_customer().windowed_by(TimeWindows::of(MINUTE).advance_by(MINUTE / 6)).reduce("hopping", |_, new| new);
    by_customer().windowed_by(SlidingWindows::of(MINUTE)).aggregate("sliding", || 0_i64, |_, order, sum| *sum += order.cents);
    by_customer().windowed_by(SessionWindows::with_gap(MINUTE)).emit(EmitStrategy::on_window_close()).count("session");
    by_customer().windowed_by(TimeWindows::of(MINUTE)).count("held").suppress("held-back", Suppressed::until_window_closes());

    let shared = orders.group_by_with(Grouped::with("own-serdes", Utf8, Json).partitions(12), |_, order| order.region.clone());
    shared.count(Materialized::with(StoreRef::<KeyValueStore<String, i64>>::new("in-memory")).in_memory());
    orders.group_by_key().count(Unnamed);
    let topology = builder.build().expect("the topology is valid");
    assert!(topology.explain().contains("count-repartition"), "{}", topology.explain());
}

#[test]
fn tables_and_joins() {
    let builder = StreamsBuilder::new();
    let customers = builder.table(CUSTOMERS);
    let orders = builder.table_as("orders-by-id", ORDERS);
    let large = orders.filter(|_, order| order.cents > 100).map_values_as("large-orders", |order| order.cents);
    large.rows().to(WORDS);
    large.to_stream().filter(|_, row| row.is_none()).to(WORDS);
    orders.suppress("calm", Suppressed::until_time_limit(MINUTE)).to(Topic::<String, Order>::new("calm-orders"));

    let clicks = builder.stream(Topic::<String, String>::new("clicks"));
    clicks.join_table(&customers, |click, customer| (click, customer.name));
    clicks.left_join_table(Joined::with(&customers, Utf8, Utf8).named("clicks-customers"), |click, customer| (click, customer.is_some()));
    clicks.to_table("last-click");
    clicks.to_table_with::<String>("last-click-2", Repartitioned::named("clicks"));
    builder.build().expect("the topology is valid");
}

#[test]
fn a_table_joins_through_a_view_without_a_store_of_its_own() {
    let builder = StreamsBuilder::new();
    let names = builder.table(CUSTOMERS).map_values(|customer| customer.name).filter(|_, name| name != "nobody");
    let joined: Topic<String, String> = Topic::new("joined");
    builder.stream(ORDERS).join_table(&names, |order, name| format!("{} of {name}", order.id)).to(joined.clone());
    let topology = builder.build().expect("the topology is valid");
    assert_eq!(topology.stores().len(), 1, "only the source table is kept: {:?}", topology.stores());

    let mut driver = TopologyTestDriver::new(&topology);
    for (key, name) in [("ann", "Ann"), ("bob", "nobody")] {
        driver.pipe(&CUSTOMERS, key.into(), Customer { name: name.into() }, Timestamp::from_secs(1)).expect("a customer is piped");
    }
    for key in ["ann", "bob", "eve"] {
        driver.pipe(&ORDERS, key.into(), order("7", key, "eu", 5), Timestamp::from_secs(2)).expect("an order is piped");
    }
    assert_eq!(driver.read_all(&joined), [("ann".to_owned(), "7 of Ann".to_owned())]);
}

#[test]
fn reading_a_windowed_topic_needs_the_size_of_its_windows() {
    let builder = StreamsBuilder::new();
    builder.stream(Topic::<Windowed<String>, i64>::new("windowed")).to(Topic::<Windowed<String>, i64>::new("copy"));
    let problem = builder.build().expect_err("the size is not known").to_string();
    assert!(problem.contains("TimeWindowed::of"), "{problem}");
}
