//! Tests on a real Kafka, which they start themselves: see `broker`.

mod broker;
mod cluster;
