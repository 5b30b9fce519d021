//! Names, topics and build errors against Kafka Streams' answers, for every shared case that is in scope; and the rest by hand.

mod cases;
mod reader;
mod small;
