//! One question in Kafka's own bytes, to find out whether a broker is ready: who else is there?

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How many brokers the one at this port knows; nothing while it does not answer.
pub(crate) fn brokers_seen_by(port: u16) -> Option<usize> {
    const WITHIN: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), WITHIN).ok()?;
    stream.set_read_timeout(Some(WITHIN)).ok()?;
    stream.write_all(&metadata_request()).ok()?;
    let mut head = [0; 12]; // length, correlation id, number of brokers
    stream.read_exact(&mut head).ok()?;
    i32::from_be_bytes(head[8..].try_into().ok()?).try_into().ok()
}

/// Metadata, version 1, about no topic.
fn metadata_request() -> Vec<u8> {
    let (api, version, correlation, no_client, topics) = (3_i16, 1_i16, 1_i32, -1_i16, 0_i32);
    let mut body = Vec::new();
    body.extend(api.to_be_bytes());
    body.extend(version.to_be_bytes());
    body.extend(correlation.to_be_bytes());
    body.extend(no_client.to_be_bytes());
    body.extend(topics.to_be_bytes());
    let mut request = i32::try_from(body.len()).expect("a few bytes").to_be_bytes().to_vec();
    request.append(&mut body);
    request
}
