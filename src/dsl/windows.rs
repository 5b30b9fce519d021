//! What `windowed_by` takes: one method for four kinds of window, by a sealed trait with a generic associated type.

use crate::dsl::windowed::TimeWindowKind;
use crate::dsl::{KGroupedStream, SessionWindowedKStream, TimeWindowedKStream};
use crate::record::Data;
use crate::window::{SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows};

/// A kind of window that a grouped stream can be cut into. Sealed.
pub trait Windows: sealed::Sealed {
    /// What `windowed_by` gives.
    type Stream<K: Data, V: Data>;
    #[doc(hidden)]
    fn cut<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V>;
}

impl Windows for TimeWindows {
    type Stream<K: Data, V: Data> = TimeWindowedKStream<K, V>;
    fn cut<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V> {
        TimeWindowedKStream::new(grouped, TimeWindowKind::Aligned(self))
    }
}

impl Windows for SlidingWindows {
    type Stream<K: Data, V: Data> = TimeWindowedKStream<K, V>;
    fn cut<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V> {
        TimeWindowedKStream::new(grouped, TimeWindowKind::Sliding(self))
    }
}

impl Windows for SessionWindows {
    type Stream<K: Data, V: Data> = SessionWindowedKStream<K, V>;
    fn cut<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V> {
        SessionWindowedKStream::new(grouped, self)
    }
}

/// Emit on close is a problem at `build`: an unlimited window never closes.
impl Windows for UnlimitedWindows {
    type Stream<K: Data, V: Data> = TimeWindowedKStream<K, V>;
    fn cut<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V> {
        TimeWindowedKStream::new(grouped, TimeWindowKind::Unlimited(self))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TimeWindows {}
    impl Sealed for super::SlidingWindows {}
    impl Sealed for super::SessionWindows {}
    impl Sealed for super::UnlimitedWindows {}
}
