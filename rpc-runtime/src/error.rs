//! What can go wrong before there is a call: targets, binding, connecting, registration.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rpc_core::connection::{ConnectionError, Refusal};
use rpc_core::{Code, Status};

/// Why a server or a channel could not be set up.
///
/// Opaque: ask the predicates. A call that failed carries a [`Status`](rpc_core::Status) instead.
pub struct Error {
    kind: Kind,
    /// What was attempted, on what.
    attempt: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Target,
    UnknownScheme,
    Bind,
    Connect,
    Refused,
    Registration,
    Resolve,
    Policy,
    Codec,
    Limit,
}

impl Error {
    pub(crate) fn new(kind: Kind, attempt: impl Into<String>) -> Self {
        Self {
            kind,
            attempt: attempt.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The text is not a target: no scheme, no address, a bad port.
    #[must_use]
    pub fn is_invalid_target(&self) -> bool {
        matches!(self.kind, Kind::Target | Kind::UnknownScheme)
    }

    /// The scheme of the target is not one of those known.
    #[must_use]
    pub fn is_unknown_scheme(&self) -> bool {
        self.kind == Kind::UnknownScheme
    }

    /// The server could not listen.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.kind == Kind::Bind
    }

    /// The server could not listen because somebody else does.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        self.is_bind()
            && self
                .io()
                .is_some_and(|e| e.kind() == io::ErrorKind::AddrInUse)
    }

    /// The connection could not be made, or ended before the server accepted it.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Refused)
    }

    /// The peer does not speak this protocol, version or codec; see [`refusal`](Self::refusal).
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// What the server said when it refused the handshake: the versions and codecs it supports.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        let source = self.source.as_ref()?;
        match source.downcast_ref::<ConnectionError>()? {
            ConnectionError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The name could not be resolved: its source cannot be reached or does not make sense.
    #[must_use]
    pub fn is_resolve(&self) -> bool {
        self.kind == Kind::Resolve
    }

    /// There is no balancing policy of that name.
    #[must_use]
    pub fn is_unknown_policy(&self) -> bool {
        self.kind == Kind::Policy
    }

    /// The same once more, for another caller; the source as text, unless it is what a server said.
    pub(crate) fn again(&self) -> Self {
        let source = self.source.as_ref();
        let said = source.and_then(|source| source.downcast_ref::<ConnectionError>());
        match said {
            Some(said) => Self::new(self.kind, self.attempt.clone()).with_source(said.clone()),
            None => Self::new(self.kind, self.to_string()),
        }
    }

    /// A service or method is registered twice, or two methods have the same id.
    #[must_use]
    pub fn is_registration(&self) -> bool {
        self.kind == Kind::Registration
    }

    /// The codec cannot be used.
    #[must_use]
    pub fn is_codec(&self) -> bool {
        self.kind == Kind::Codec
    }

    /// A setting is zero with which nothing would ever get through.
    #[must_use]
    pub fn is_invalid_limit(&self) -> bool {
        self.kind == Kind::Limit
    }

    /// Refuses settings of which one `is_zero`, by the names of the methods that set them.
    pub(crate) fn if_zero<const N: usize>(settings: [(&str, bool); N]) -> Result<(), Self> {
        let zero = settings.iter().find(|(_, is_zero)| *is_zero);
        zero.map_or(Ok(()), |(name, _)| {
            let mistake = format!("{name} is zero: nothing would ever get through");
            Err(Self::new(Kind::Limit, mistake))
        })
    }

    fn io(&self) -> Option<&io::Error> {
        self.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempt)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("attempt", &self.attempt)
            .field("source", &self.source)
            .finish()
    }
}

/// For `?` in handlers: `Unavailable` if somebody cannot be reached or resolved, else `Internal`.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error.kind {
            Kind::Connect | Kind::Refused | Kind::Resolve => Code::Unavailable,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string()).with_source(error)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
