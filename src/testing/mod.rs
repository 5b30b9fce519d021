//! Testing a topology without a broker. Public, without dependencies of its own.

mod capture;
mod driver;
mod heap;

pub use capture::RawOutput;
pub use driver::TopologyTestDriver;
