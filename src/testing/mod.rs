//! Testing a topology without a broker. Public, without dependencies of its own.

mod bare_task;
mod capture;
mod driver;
mod heap;

#[doc(hidden)]
pub use bare_task::BareTask;
pub use capture::RawOutput;
pub use driver::TopologyTestDriver;
