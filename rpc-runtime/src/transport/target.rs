//! Where a server listens or a client connects, as text.

use std::fmt;
use std::str::FromStr;

use super::local::{Place, SCHEMES};
use crate::error::{Error, Kind};

/// A parsed target: `tcp://host:port`, `unix:///path`, `mem://name`.
///
/// The older form `tcp@host:port` means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Host and port.
    Tcp(String),
    /// On this machine.
    Local(Place),
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.split_once("://").or_else(|| text.split_once('@'));
        let Some((scheme, rest)) = parts else {
            return Err(invalid(text, "it has no scheme; write scheme://address"));
        };
        if scheme == "tcp" {
            return tcp(text, rest);
        }
        match Place::parse(scheme, rest) {
            Some(Ok(place)) => Ok(Self::Local(place)),
            Some(Err(why)) => Err(invalid(text, why)),
            None => Err(unknown(text, scheme)),
        }
    }
}

fn tcp(text: &str, address: &str) -> Result<Target, Error> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(invalid(text, "the port is missing"));
    };
    if port.parse::<u16>().is_err() {
        return Err(invalid(text, "the port is not a number from 0 to 65535"));
    }
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_v6 {
        return Err(invalid(
            text,
            "the host is missing, or an IPv6 address without brackets",
        ));
    }
    Ok(Target::Tcp(address.to_owned()))
}

fn unknown(text: &str, scheme: &str) -> Error {
    let names = if cfg!(feature = "fleet") {
        ""
    } else {
        ", and names with the feature `fleet`"
    };
    Error::new(
        Kind::UnknownScheme,
        format!("unknown scheme {scheme:?} in target {text:?}; known are tcp{SCHEMES}{names}"),
    )
}

fn invalid(text: &str, why: &str) -> Error {
    Error::new(Kind::Target, format!("invalid target {text:?}: {why}"))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Local(place) => place.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_parse_to_the_same() {
        for (old, new) in [
            ("tcp@127.0.0.1:7001", "tcp://127.0.0.1:7001"),
            ("unix@./x.sock", "unix://./x.sock"),
            ("mem@a", "mem://a"),
        ] {
            assert_eq!(old.parse::<Target>().unwrap(), new.parse().unwrap());
            assert_eq!(new.parse::<Target>().unwrap().to_string(), new);
        }
    }

    #[test]
    fn s0_1_bad_targets_say_what_is_wrong() {
        for (text, why) in [
            ("foo", "no scheme"),
            ("tcp://localhost", "port is missing"),
            ("tcp://localhost:http", "not a number"),
            ("tcp://localhost:70000", "not a number"),
            ("tcp://:80", "host is missing"),
            ("tcp://::1:80", "without brackets"),
            ("unix://", "path is empty"),
            ("mem://", "name is empty"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.is_invalid_target() && !error.is_unknown_scheme());
            assert!(error.to_string().contains(why), "{error}");
        }
        let error = "udp://127.0.0.1:1".parse::<Target>().unwrap_err();
        assert!(error.is_unknown_scheme(), "{error}");
        assert!(error.to_string().contains("known are tcp, unix, mem"));
    }
}
