//! What a user's function may return where it gives nothing, or a verdict: plainly, or as a `Result`.

use crate::error::BoxError;

/// What an aggregator decided about the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Keep it: what returning `()` means.
    Keep,
    /// Delete it; downstream sees a tombstone, and the next record starts from the initial value.
    Delete,
}

/// The result of a function that changes something in place: `()`, [`Row`], or a `Result` of either.
#[diagnostic::on_unimplemented(
    message = "this function must return nothing, `Row`, or a `Result` of either; it returns `{Self}`",
    note = "an aggregator changes its `&mut` argument in place: `|_, value, total| *total += value`"
)]
pub trait Outcome {
    #[doc(hidden)]
    fn outcome(self) -> Result<Row, BoxError>;
}
impl Outcome for () {
    fn outcome(self) -> Result<Row, BoxError> {
        Ok(Row::Keep)
    }
}
impl Outcome for Row {
    fn outcome(self) -> Result<Row, BoxError> {
        Ok(self)
    }
}
impl<T: Outcome, E: Into<BoxError>> Outcome for Result<T, E> {
    fn outcome(self) -> Result<Row, BoxError> {
        self.map_err(Into::into)?.outcome()
    }
}

/// The result of a test: `bool`, or a `Result` of it.
#[diagnostic::on_unimplemented(message = "this test must return `bool` or `Result<bool, _>`; it returns `{Self}`")]
pub trait Verdict {
    #[doc(hidden)]
    fn verdict(self) -> Result<bool, BoxError>;
}
impl Verdict for bool {
    fn verdict(self) -> Result<bool, BoxError> {
        Ok(self)
    }
}
impl<E: Into<BoxError>> Verdict for Result<bool, E> {
    fn verdict(self) -> Result<bool, BoxError> {
        self.map_err(Into::into)
    }
}
