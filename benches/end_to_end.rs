//! Placeholder until the operators exist.
fn main() {}
