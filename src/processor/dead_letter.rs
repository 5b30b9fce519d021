//! What a dead letter says about itself: provenance headers, in one of two families.
//!
//! The record keeps the source's key, value, timestamp and headers byte for byte (as Kafka Streams writes it: the timestamp and
//! headers that it failed with); these headers are appended.

use crate::config::DeadLetterHeaders;
use crate::processor::context::Origin;
use crate::record::{Headers, Timestamp};

/// Longest text of an error that is written; a dead letter must not fail on its own size.
const TEXT_BYTES_MAX: usize = 4096;

pub(crate) fn headers(
    family: DeadLetterHeaders,
    origin: &Origin,
    mut headers: Headers,
    node: &str,
    error: &(dyn std::error::Error + Send + Sync + 'static),
    now: Timestamp,
) -> Headers {
    let message = cut(root(error).to_string());
    match family {
        DeadLetterHeaders::Native => {
            headers.add("__hw.dlq.node", node);
            headers.add("__hw.dlq.message", message);
            headers.add("__hw.dlq.topic", origin.topic.as_bytes());
            headers.add("__hw.dlq.partition", origin.partition.to_string());
            headers.add("__hw.dlq.offset", origin.offset.to_string());
            headers.add("__hw.dlq.timestamp", origin.timestamp.to_string());
            headers.add("__hw.dlq.failed.at", now.to_string());
        }
        DeadLetterHeaders::KafkaStreams => {
            headers.add("__streams.errors.exception", format!("highwater: {node}"));
            headers.add("__streams.errors.message", message);
            headers.add("__streams.errors.stacktrace", cut(chain(error)));
            match origin.known {
                true => headers.add("__streams.errors.topic", origin.topic.as_bytes()),
                false => headers.add_null("__streams.errors.topic"), // a punctuation has no source record
            }
            headers.add("__streams.errors.partition", origin.partition.to_string());
            headers.add("__streams.errors.offset", origin.offset.to_string());
        }
    }
    headers
}

fn root<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str("\ncaused by: ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabyte_of_message_is_cut_at_a_character() {
        let error: crate::error::BoxError = "é".repeat(1 << 19).into();
        let headers = headers(DeadLetterHeaders::Native, &Origin::default(), Headers::default(), "n", &*error, Timestamp::from_millis(0));
        let message = headers.last("__hw.dlq.message").expect("there is a message");
        assert!(message.len() <= TEXT_BYTES_MAX && std::str::from_utf8(message).is_ok());
    }
}
