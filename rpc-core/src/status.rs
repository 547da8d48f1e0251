//! How a call failed: a code from gRPC's table, a message for people, and room for details.
//!
//! Who is to blame? The code tells whether a retry can help; [`Status::is_not_processed`] tells
//! whether the handler can have run. Only the framework sets the latter, never a handler.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_core::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::metadata::{Metadata, MetadataError};

/// Why a call failed: gRPC's seventeen codes with gRPC's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Code {
    /// Not an error; a [`Status`] never carries it.
    Ok = 0,
    /// The caller gave up: its future was dropped, or it asked for the call to stop.
    Cancelled = 1,
    /// An error of a kind nobody named; what a handler's typed error carries by default.
    Unknown = 2,
    /// The request is wrong whatever the state of the server, for example undecodable arguments.
    InvalidArgument = 3,
    /// The time given to the call ran out.
    DeadlineExceeded = 4,
    /// What was asked for does not exist; also: the server has no such service.
    NotFound = 5,
    /// What was to be created exists already.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A limit was reached: message size, calls in flight, a quota.
    ResourceExhausted = 8,
    /// The system is not in the state the call needs; retrying alone does not help.
    FailedPrecondition = 9,
    /// A conflict with another call; retry the whole transaction.
    Aborted = 10,
    /// Past the end of what is there.
    OutOfRange = 11,
    /// The service has no such method.
    Unimplemented = 12,
    /// A bug: a handler panicked, or its reply could not be encoded.
    Internal = 13,
    /// The server cannot be reached or is going away.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// The caller did not say who it is.
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code with this number; a number nobody defined is [`Code::Unknown`], as in gRPC.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL
            .get(usize::from(number))
            .copied()
            .unwrap_or(Self::Unknown)
    }

    /// The number that travels.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The outcome of a call that did not succeed.
///
/// Small enough to return by value: details live behind one pointer that is absent when unused.
#[derive(Clone)]
pub struct Status {
    code: Code,
    message: Cow<'static, str>,
    /// Counted, so that how they are dropped is compiled in one place and not wherever a status is.
    details: Option<Arc<Details>>,
}

#[derive(Clone, Default)]
struct Details {
    /// The encoded typed error of the handler, if it returned one.
    body: Option<Bytes>,
    metadata: Metadata,
    not_processed: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $code:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
            Self::new(Code::$code, message)
        }
    )*};
}

impl Status {
    /// A status with a code and a message for people.
    ///
    /// `Code::Ok` is not a failure and becomes `Code::Unknown`.
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let code = if code == Code::Ok {
            Code::Unknown
        } else {
            code
        };
        Self {
            code,
            message: message.into(),
            details: None,
        }
    }

    constructors! {
        /// [`Code::Cancelled`].
        cancelled = Cancelled;
        /// [`Code::Unknown`].
        unknown = Unknown;
        /// [`Code::InvalidArgument`].
        invalid_argument = InvalidArgument;
        /// [`Code::DeadlineExceeded`].
        deadline_exceeded = DeadlineExceeded;
        /// [`Code::NotFound`].
        not_found = NotFound;
        /// [`Code::AlreadyExists`].
        already_exists = AlreadyExists;
        /// [`Code::PermissionDenied`].
        permission_denied = PermissionDenied;
        /// [`Code::ResourceExhausted`].
        resource_exhausted = ResourceExhausted;
        /// [`Code::FailedPrecondition`].
        failed_precondition = FailedPrecondition;
        /// [`Code::Aborted`].
        aborted = Aborted;
        /// [`Code::OutOfRange`].
        out_of_range = OutOfRange;
        /// [`Code::Unimplemented`].
        unimplemented = Unimplemented;
        /// [`Code::Internal`].
        internal = Internal;
        /// [`Code::Unavailable`].
        unavailable = Unavailable;
        /// [`Code::DataLoss`].
        data_loss = DataLoss;
        /// [`Code::Unauthenticated`].
        unauthenticated = Unauthenticated;
    }

    /// Why the call failed.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The message, for people; may be empty.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The encoded typed error of the handler, in the codec of the connection, if it returned one.
    #[must_use]
    pub fn error_body(&self) -> Option<&Bytes> {
        self.details.as_ref()?.body.as_ref()
    }

    /// Metadata that came with the failure; empty if there was none.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        static EMPTY: Metadata = Metadata::new();
        self.details.as_ref().map_or(&EMPTY, |d| &d.metadata)
    }

    /// True if the handler provably did not run: the call may be sent again without running twice.
    #[must_use]
    pub fn is_not_processed(&self) -> bool {
        self.details.as_ref().is_some_and(|d| d.not_processed)
    }

    /// Attaches the encoded typed error of a handler.
    #[must_use]
    pub fn with_error_body(mut self, body: Bytes) -> Self {
        self.details_mut().body = Some(body);
        self
    }

    /// Attaches metadata that travels with the failure.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        if !metadata.is_empty() || self.details.is_some() {
            self.details_mut().metadata = metadata;
        }
        self
    }

    /// Marks the call as provably not processed.
    #[must_use]
    pub fn with_not_processed(mut self) -> Self {
        self.details_mut().not_processed = true;
        self
    }

    /// Takes back that the call was provably not processed.
    #[must_use]
    pub fn with_maybe_processed(mut self) -> Self {
        if self.is_not_processed() {
            self.details_mut().not_processed = false;
        }
        self
    }

    /// Keeps the cause, for [`Error::source`]; it stays in this process.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        self.with_shared_source(Arc::new(source))
    }

    #[cold]
    fn with_shared_source(mut self, source: Arc<dyn Error + Send + Sync>) -> Self {
        self.details_mut().source = Some(source);
        self
    }

    fn details_mut(&mut self) -> &mut Details {
        Arc::make_mut(self.details.get_or_insert_default())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return write!(f, "{}", self.code);
        }
        write!(f, "{}: {}", self.code, Shown(&self.message))
    }
}

/// Text of a peer's, with its control characters escaped: it may end in a log or on a terminal.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            let text = part.trim_end_matches(char::is_control);
            f.write_str(text)?;
            write!(f, "{}", part[text.len()..].escape_debug())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Status");
        out.field("code", &self.code);
        out.field("message", &self.message);
        if self.is_not_processed() {
            out.field("not_processed", &true);
        }
        if let Some(body) = self.error_body() {
            out.field("error_body_bytes", &body.len());
        }
        if !self.metadata().is_empty() {
            out.field("metadata", self.metadata());
        }
        if let Some(source) = self.source() {
            out.field("source", &source);
        }
        out.finish()
    }
}

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.details.as_ref()?.source.as_deref()?;
        Some(source)
    }
}

/// For `?` in handlers and interceptors: `ResourceExhausted` for too much, else `InvalidArgument`.
impl From<MetadataError> for Status {
    fn from(error: MetadataError) -> Self {
        let code = match error {
            MetadataError::TooLarge => Code::ResourceExhausted,
            _ => Code::InvalidArgument,
        };
        Self::new(code, error.to_string()).with_source(error)
    }
}

/// Two statuses are equal when they say the same to the caller: code, message and typed error.
impl PartialEq for Status {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
            && self.message == other.message
            && self.error_body() == other.error_body()
    }
}

/// Code and message travel, so that a typed error can have a variant that holds a status.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.code.number(), &self.message).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, message) = <(u8, String)>::deserialize(deserializer)?;
        if number == 0 {
            return Err(de::Error::custom("a status cannot carry the code Ok"));
        }
        Ok(Self::new(Code::from_number(number), message))
    }
}

/// The code that a typed application error travels with; see [`Status::error_body`].
///
/// Optional: an error type that does not implement it travels as [`Code::Unknown`].
pub trait ErrorCode {
    /// The code for this error, for callers and gateways that do not know the type.
    fn code(&self) -> Code;
}
