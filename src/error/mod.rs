//! What can go wrong, and who decides.
//!
//! Three types, by reader: [`TopologyError`] for the author of a job (returned by `build`), [`Error`] for the
//! operator of an instance (returned by a running one; match on [`ErrorKind`]), and [`BoxError`] for whatever the
//! user's own functions return.

use std::borrow::Cow;
use std::fmt;

/// Any error of the user's: `anyhow::Error`, a `thiserror` enum, a `String`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What happens to a record that an operator could not handle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OnError {
    /// Stop the task: nothing is lost, nothing moves on. The default.
    Fail,
    /// Count it, log it, go on.
    Skip,
    /// Send the source bytes with provenance headers to this topic, then go on.
    DeadLetter(Cow<'static, str>),
}

impl OnError {
    /// Send what fails to `topic`, byte for byte, with where and why in its headers.
    pub fn dead_letter(topic: impl Into<Cow<'static, str>>) -> Self {
        OnError::DeadLetter(topic.into())
    }
}

/// Everything wrong with a topology, found at `build`.
#[derive(Debug, thiserror::Error)]
#[error("invalid topology: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct TopologyError(pub(crate) Vec<TopologyProblem>);

impl TopologyError {
    /// The problems, in the order in which the operators were called.
    pub fn problems(&self) -> &[TopologyProblem] {
        &self.0
    }
}

/// One thing wrong with a topology. Its text names the fix.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyProblem {
    /// Two nodes want one name.
    #[error("two operators are called `{0}`: give one of them another name with `.named(..)`")]
    DuplicateNode(String),
    /// Two stores want one name.
    #[error("two stores are called `{0}`: give one of them another name")]
    DuplicateStore(String),
    /// Two sources read one topic.
    #[error("the topic `{0}` is read by two sources: read it once and use the stream twice")]
    DuplicateTopic(String),
    /// A name that Kafka would refuse.
    #[error("`{0}` is not a legal name: use ASCII letters, digits, `.`, `_` and `-`, at most 249 of them")]
    IllegalName(String),
    /// A window that cannot be.
    #[error("`{node}`: {reason}")]
    InvalidWindow {
        /// The operator.
        node: String,
        /// What is wrong with it, and what to change.
        reason: String,
    },
    /// A setting of an operator that cannot be.
    #[error("`{node}`: {reason}")]
    InvalidOption {
        /// The operator.
        node: String,
        /// What is wrong with it, and what to change.
        reason: String,
    },
    /// A processor names a store that nobody added.
    #[error("`{node}` uses the store `{store}`, which does not exist: add it, or correct the name")]
    UnknownStore {
        /// The operator.
        node: String,
        /// The name it used.
        store: String,
    },
    /// Streams of two builders met in one operator, or a stream was used after its builder was built.
    #[error(
        "`{0}` uses a stream of another builder, or one whose builder was already built: make both with the same `StreamsBuilder`, before `build`"
    )]
    ForeignStream(String),
    /// Stream time and bounded watermarks in one sub-topology.
    #[error(
        "sub-topology {subtopology} mixes sources with a bounded watermark and sources without ({with}; {without}): declare `.watermark(..)` on all of its streams or on none"
    )]
    MixedTime {
        /// Number of the sub-topology.
        subtopology: usize,
        /// Topics that declare a watermark.
        with: String,
        /// Topics that do not.
        without: String,
    },
    /// `require_explicit_names` is on and a store or internal topic has a generated name.
    #[error("`{node}` makes the {what} `{name}`, a generated name that changes when an operator is inserted before it: give it a name")]
    GeneratedName {
        /// The operator.
        node: String,
        /// `store`, `changelog topic` or `repartition topic`.
        what: &'static str,
        /// The generated name.
        name: String,
    },
    /// A codec is needed and the types name none.
    #[error("`{node}` needs a serde for {role}: {fix}")]
    MissingSerde {
        /// The operator.
        node: String,
        /// `the key` or `the value`.
        role: &'static str,
        /// What to call.
        fix: String,
    },
}

/// What the caller of a running instance should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Try the same call again.
    Retriable,
    /// Another instance owns the work now: rejoin.
    Fenced,
    /// Local state cannot be trusted: wipe and restore.
    CorruptState,
    /// Bytes could not be read or written as the declared type.
    Serde,
    /// A user function said no and the policy was [`OnError::Fail`].
    Processing,
    /// The settings contradict each other or the cluster.
    InvalidConfig,
    /// A query met a task that is elsewhere or still restoring.
    NotAvailable,
    /// A user function panicked; its task stopped.
    Panic,
    /// The log refused or lost a request.
    Log,
    /// Exactly once: what a single record brings about does not fit into a transaction.
    TransactionTooLarge,
    /// A bug in Highwater.
    Internal,
}

/// An error of a running instance.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: Place,
    source: BoxError,
}

/// Where it happened. Empty fields are unknown.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// Operator.
    pub node: Option<String>,
    /// Source topic.
    pub topic: Option<String>,
    /// Source partition.
    pub partition: Option<i32>,
    /// Source offset.
    pub offset: Option<i64>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, place: Place, source: BoxError) -> Self {
        Error { kind, place, source }
    }
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
    /// Where it happened; fields that are not known are empty.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl ErrorKind {
    /// One line for logs and terminals.
    pub fn advice(self) -> &'static str {
        match self {
            ErrorKind::Retriable => "try again",
            ErrorKind::Fenced => "another instance owns the work now; rejoin",
            ErrorKind::CorruptState => "wipe the local state of this task and restore it",
            ErrorKind::Serde => "correct the data or the serde, or set an `on_error` policy",
            ErrorKind::Processing => "correct the function or the data, or set an `on_error` policy",
            ErrorKind::InvalidConfig => "correct the settings",
            ErrorKind::NotAvailable => "ask again later or elsewhere",
            ErrorKind::Panic => "a user function panicked: correct it; the record is not committed",
            ErrorKind::TransactionTooLarge => "raise `transaction_timeout`, or let one record do less",
            ErrorKind::Log => "look at the log's own error",
            ErrorKind::Internal => "a bug in Highwater: report it",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(node) = &self.place.node {
            write!(f, " in `{node}`")?;
        }
        if let (Some(topic), Some(offset)) = (&self.place.topic, self.place.offset) {
            write!(f, " at {topic}-{}@{offset}", self.place.partition.unwrap_or(0))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Bytes that are not what the type wants. Returned by implementors of `Serde`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerdeError {
    /// A Kafka null where the type has no null.
    #[error("unexpected null: read the topic as `Option`, or skip nulls with `on_error(OnError::Skip)`")]
    UnexpectedNull,
    /// Bytes of another shape.
    #[error("malformed {format}: {source}")]
    Malformed {
        /// What was being read or written.
        format: &'static str,
        /// Why it failed.
        source: BoxError,
    },
}

impl SerdeError {
    /// Bytes that are not valid `format`.
    pub fn malformed(format: &'static str, source: impl Into<BoxError>) -> Self {
        SerdeError::Malformed { format, source: source.into() }
    }
}

/// A store that could not read or write. It stays failed until its task is reopened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Stored bytes do not decode as the declared type.
    #[error("store `{store}`: {source}")]
    Serde {
        /// Name of the store.
        store: String,
        /// Why.
        source: SerdeError,
    },
    /// The backend failed.
    #[error("store `{store}`: {source}")]
    Backend {
        /// Name of the store.
        store: String,
        /// Why.
        source: BoxError,
    },
}

/// A fatal error on its way up the call chain: one pointer wide, so `Result<(), Fault>` fits a register.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) Box<Error>);

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault(Box::new(error))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        *fault.0
    }
}

/// What every node returns.
pub(crate) type Flow = Result<(), Fault>;
