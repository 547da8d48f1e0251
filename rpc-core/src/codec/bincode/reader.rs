//! Bytes to numbers, lengths and text: every check that the format needs, and none twice.

use std::borrow::Cow;
use std::fmt;

use serde::de;

/// What is wrong. Behind a pointer, so that a result that went well stays in registers.
#[derive(Debug)]
pub(super) struct Failure(Box<Cow<'static, str>>);

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Box::new(message.to_string().into()))
    }
}

#[cold]
pub(super) fn fail<T>(message: &'static str) -> Result<T> {
    Err(Failure(Box::new(message.into())))
}

/// What has not been read yet.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(rest: &'de [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'de [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return fail("the input ends early");
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return fail("the input ends early");
        };
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// An integer below 251 is one byte; else the byte says how wide it is.
    #[inline]
    pub(super) fn unsigned(&mut self) -> Result<u64> {
        match self.byte()? {
            small @ 0..=250 => Ok(small.into()),
            width => match u64::try_from(self.wide(width)?) {
                Ok(value) => Ok(value),
                Err(_) => fail("an integer does not fit into 64 bits"),
            },
        }
    }

    pub(super) fn unsigned_128(&mut self) -> Result<u128> {
        match self.byte()? {
            small @ 0..=250 => Ok(small.into()),
            width => self.wide(width),
        }
    }

    fn wide(&mut self, width: u8) -> Result<u128> {
        let (value, least): (u128, u128) = match width {
            251 => (u16::from_le_bytes(self.array()?).into(), 251),
            252 => (u32::from_le_bytes(self.array()?).into(), 1 << 16),
            253 => (u64::from_le_bytes(self.array()?).into(), 1 << 32),
            254 => (u128::from_le_bytes(self.array()?), 1 << 64),
            _ => return fail("255 begins no integer"),
        };
        if value < least {
            return fail("an integer takes more bytes than it needs");
        }
        Ok(value)
    }

    /// 0, -1, 1, -2, .. are written as 0, 1, 2, 3, ..
    #[inline]
    pub(super) fn signed(&mut self) -> Result<i64> {
        let value = self.unsigned()?;
        let half = (value >> 1).cast_signed();
        Ok(if value & 1 == 0 { half } else { !half })
    }

    pub(super) fn signed_128(&mut self) -> Result<i128> {
        let value = self.unsigned_128()?;
        let half = (value >> 1).cast_signed();
        Ok(if value & 1 == 0 { half } else { !half })
    }

    #[inline]
    pub(super) fn length(&mut self) -> Result<usize> {
        let Ok(length) = usize::try_from(self.unsigned()?) else {
            return fail("the length does not fit into this machine");
        };
        Ok(length)
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'de [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn char(&mut self) -> Result<char> {
        let length = match self.rest.first() {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        let encoded = std::str::from_utf8(self.take(length)?).ok();
        match encoded.and_then(|text| text.chars().next()) {
            Some(char) => Ok(char),
            None => fail("not a char in UTF-8"),
        }
    }

    #[inline]
    pub(super) fn end(&self) -> Result<()> {
        match self.rest {
            [] => Ok(()),
            _ => fail("bytes are left over"),
        }
    }
}
