//! Bytes to numbers, lengths and text: every check that the format needs, and none twice.

use std::borrow::Cow;
use std::fmt;

use serde_core::de;

use super::super::limits::Budget;
use super::short::{Ahead, Short};

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
#[inline(never)]
fn failure(message: &'static str) -> Failure {
    Failure(Box::new(message.into()))
}

#[cold]
#[inline(never)]
fn early() -> Failure {
    failure("the input ends early")
}

#[inline]
pub(super) fn fail<T>(message: &'static str) -> Result<T> {
    Err(failure(message))
}

/// What has not been read yet, and what reading it may cost.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    pub(super) budget: &'de Budget,
    depth_left: u32,
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(rest: &'de [u8], budget: &'de Budget) -> Self {
        Self {
            rest,
            budget,
            depth_left: budget.depth(),
        }
    }

    /// Reads what is one level down.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    pub(super) fn below<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.descend()?;
        let value = read(self)?;
        self.ascend();
        Ok(value)
    }

    /// Begins with what is one level down.
    #[inline]
    pub(super) fn descend(&mut self) -> Result<()> {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            return Err(self.too_deep());
        };
        self.depth_left = depth_left;
        Ok(())
    }

    /// Is back at the level where it was before.
    #[inline]
    pub(super) fn ascend(&mut self) {
        self.depth_left += 1;
    }

    #[cold]
    #[inline(never)]
    fn too_deep(&self) -> Failure {
        self.budget.too_deep()
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'de [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(early());
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(early());
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
        match self.rest {
            [small @ 0..=250, rest @ ..] => {
                self.rest = rest;
                Ok((*small).into())
            }
            _ => self.wide(),
        }
    }

    fn wide(&mut self) -> Result<u64> {
        let (value, least, rest) = match *self.rest {
            [251, a, b, ref rest @ ..] => (u16::from_le_bytes([a, b]).into(), 251, rest),
            [252, a, b, c, d, ref rest @ ..] => {
                (u32::from_le_bytes([a, b, c, d]).into(), 1 << 16, rest)
            }
            [253, a, b, c, d, e, f, g, h, ref rest @ ..] => {
                let value = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                (value, 1 << 32, rest)
            }
            [254, ..] => return fail("an integer does not fit into 64 bits"),
            [255, ..] => return fail("255 begins no integer"),
            _ => return Err(early()),
        };
        self.rest = rest;
        shortest(value, least)
    }

    pub(super) fn unsigned_128(&mut self) -> Result<u128> {
        let [254, rest @ ..] = self.rest else {
            return self.unsigned().map(u128::from);
        };
        self.rest = rest;
        shortest(u128::from_le_bytes(self.array()?), 1 << 64)
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
        // The usual one in one step: what is read next waits for where this ends.
        if let [small @ 0..=250, rest @ ..] = self.rest
            && let Some((taken, rest)) = rest.split_at_checked((*small).into())
        {
            self.rest = rest;
            return Ok(taken);
        }
        self.long_bytes()
    }

    #[inline(never)]
    fn long_bytes(&mut self) -> Result<&'de [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// As [`bytes`](Self::bytes), of a string. If it is a short one, also what there is from where it
    /// begins: that is known here without looking back.
    #[inline]
    pub(super) fn string(&mut self) -> Result<(&'de [u8], Option<&'de Ahead>)> {
        if let [small @ 0..=250, rest @ ..] = self.rest
            && let Some((taken, behind)) = rest.split_at_checked((*small).into())
        {
            self.rest = behind;
            let is_short = taken.len() <= Short::BYTES_MAX;
            return Ok((taken, rest.first_chunk().filter(|_| is_short)));
        }
        self.long_bytes().map(|taken| (taken, None))
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

#[inline]
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => Err(not_utf8()),
    }
}

#[cold]
#[inline(never)]
pub(super) fn not_utf8() -> Failure {
    failure("a string is not UTF-8")
}

/// An integer that could not have been written in fewer bytes.
#[inline]
fn shortest<T: PartialOrd>(value: T, least: T) -> Result<T> {
    if value < least {
        return fail("an integer takes more bytes than it needs");
    }
    Ok(value)
}
