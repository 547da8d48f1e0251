//! What is looked up, as text.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// Longest text of a name.
const NAME_BYTES_MAX: usize = 1024;

/// A parsed name: `scheme://authority/path`.
///
/// The authority says whom to ask, or holds the answer itself; the path, which may be missing, says
/// what for. What they look like is up to the [`Resolver`](super::Resolver) of the scheme.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    text: String,
    /// The end of the scheme: `text[scheme..scheme + 3] == "://"`.
    scheme: usize,
    /// The end of the authority: `scheme + 3 <= authority <= text.len()`.
    authority: usize,
}

impl Name {
    /// What stands before the `://`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme]
    }

    /// What stands between the `://` and the next slash.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.scheme + 3..self.authority]
    }

    /// What stands behind the slash after the authority, without it; empty if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text[self.authority..].trim_start_matches('/')
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts of the authority between commas: a list of `host:port`.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.authority().split(',')
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            Error::new(Kind::Target, format!("invalid name {shown:?}: {why}"))
        };
        if text.len() > NAME_BYTES_MAX {
            return Err(invalid("it is longer than 1024 bytes"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("it has white space or control characters in it"));
        }
        let scheme = text.find("://");
        let scheme = scheme.ok_or_else(|| invalid("it has no scheme; write scheme://name"))?;
        if !is_scheme(&text[..scheme]) {
            return Err(invalid("the scheme is not one"));
        }
        let rest = scheme + 3;
        let authority = text[rest..].find('/').map_or(text.len(), |at| rest + at);
        if authority == rest {
            return Err(invalid("nothing stands between the scheme and the path"));
        }
        Ok(Self {
            text: text.to_owned(),
            scheme,
            authority,
        })
    }
}

/// A letter, then letters, digits, `+`, `-` and `.`; all lower case (RFC 3986, section 3.1).
pub(super) fn is_scheme(text: &str) -> bool {
    let legal =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(legal)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_into_their_parts() {
        for (text, scheme, authority, path) in [
            ("static://a:1,b:2", "static", "a:1,b:2", ""),
            ("static://a:1,b:2/Greeter", "static", "a:1,b:2", "Greeter"),
            ("dns://greeter:7000/", "dns", "greeter:7000", ""),
            ("etcd://h:2379/rpc/greeter", "etcd", "h:2379", "rpc/greeter"),
            ("my+kind.2://x", "my+kind.2", "x", ""),
        ] {
            let name: Name = text.parse().unwrap();
            assert_eq!(
                (name.scheme(), name.authority(), name.path()),
                (scheme, authority, path)
            );
            assert_eq!(name.to_string(), text);
        }
        let name: Name = "etcd://a:1,b:2/x".parse().unwrap();
        assert_eq!(name.hosts().collect::<Vec<_>>(), ["a:1", "b:2"]);
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        let long = format!("dns://{}", "a".repeat(NAME_BYTES_MAX));
        for (text, why) in [
            ("greeter", "no scheme"),
            ("", "no scheme"),
            ("://a", "scheme is not one"),
            ("9a://a", "scheme is not one"),
            ("Dns://a", "scheme is not one"),
            ("dns://", "nothing stands between"),
            ("dns:///a", "nothing stands between"),
            ("dns://a b", "white space"),
            ("dns://a\r\nb", "white space"),
            ("dns://a\0", "control characters"),
            (&long, "longer than"),
        ] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.is_invalid_target());
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
