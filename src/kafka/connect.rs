//! Where clients come from.

use std::fmt;

use super::{Admin, Consumer, Group, Isolation, LogError, Producer};

/// A log that clients can be opened to: one cluster with its addresses and credentials, or a log in this process.
pub trait Connect: Send + Sync + fmt::Debug {
    /// A consumer outside of any group.
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError>;

    /// A producer.
    fn producer(&self) -> Result<Box<dyn Producer>, LogError>;

    /// An administrator.
    fn admin(&self) -> Result<Box<dyn Admin>, LogError>;

    /// A consumer that can join `group`. `name` is what tools show; it need not be unique.
    fn member(&self, group: &str, name: &str, isolation: Isolation) -> Result<Box<dyn Group>, LogError>;
}
