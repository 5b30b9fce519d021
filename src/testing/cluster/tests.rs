//! What a cluster does when it is told to.
