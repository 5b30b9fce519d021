//! Rounds of threads, called by hand.
