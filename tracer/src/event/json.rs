//! A strict JSON pull parser over one text, without an intermediate tree.

use std::borrow::Cow;

use super::parse::{ParseError, Result};

/// Maximum nesting depth of values.
const MAX_DEPTH: u32 = 128;

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
}

/// A position in an object or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After the opening bracket.
    First,
    /// After a value.
    Value,
    /// After a comma: a member or element must follow.
    Comma,
}

impl<'a> Json<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the next byte.
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Returns the next byte that is not white space; most writers use none.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        match self.byte() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => self.peek_behind_space(),
        }
    }

    #[cold]
    fn peek_behind_space(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.byte()
    }

    /// Skips `byte` if it is the next one.
    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.syntax(self.at)) }
    }

    /// The error for a text that is not JSON at this position.
    #[cold]
    fn syntax(&self, at: usize) -> Box<ParseError> {
        Box::new(if at < self.text.len() { ParseError::Json(at) } else { ParseError::CutOff(at) })
    }

    /// The error for a value that is not `expected`, or that is not JSON.
    #[cold]
    pub(super) fn mismatch(&self, expected: &'static str) -> Box<ParseError> {
        match self.clone().skip() {
            Ok(()) => Box::new(ParseError::Invalid { member: String::new(), expected }),
            Err(error) => error,
        }
    }

    /// Returns an error if anything follows.
    pub(super) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Box::new(ParseError::Trailing(self.at))),
        }
    }

    pub(super) fn open_object(&mut self) -> Result<Place> {
        if self.eat(b'{') { Ok(Place::First) } else { Err(self.mismatch("an object")) }
    }

    pub(super) fn open_array(&mut self) -> Result<Place> {
        if self.eat(b'[') { Ok(Place::First) } else { Err(self.mismatch("an array")) }
    }

    /// Advances to the next member or element; returns `false` after the last.
    fn advance(&mut self, place: &mut Place, closing: u8) -> Result<bool> {
        if *place != Place::Comma {
            if self.eat(closing) {
                return Ok(false);
            }
            if *place == Place::Value {
                self.expect(b',')?;
            }
        }
        *place = Place::Value;
        Ok(true)
    }

    /// Reads the name of the next member; its value follows.
    pub(super) fn next_name(&mut self, place: &mut Place) -> Result<Option<Cow<'a, str>>> {
        if !self.advance(place, b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.syntax(self.at));
        }
        let name = self.string()?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// Skips the name of the next member if it is exactly `quoted`, including quotes and colon.
    #[inline]
    pub(super) fn eat_name(&mut self, place: &mut Place, quoted: &str) -> bool {
        if *place == Place::Value {
            if self.byte() != Some(b',') {
                return false;
            }
            self.at += 1;
            *place = Place::Comma;
        }
        let is_next = self.text.as_bytes()[self.at..].starts_with(quoted.as_bytes());
        if is_next {
            self.at += quoted.len();
            *place = Place::Value;
        }
        is_next
    }

    /// Returns whether an array has another element.
    pub(super) fn next_element(&mut self, place: &mut Place) -> Result<bool> {
        self.advance(place, b']')
    }

    /// Skips `null` if it is next.
    pub(super) fn null(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b'n') => self.literal("null", true),
            _ => Ok(false),
        }
    }

    pub(super) fn bool(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b't') => self.literal("true", true),
            Some(b'f') => self.literal("false", false),
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn literal<T>(&mut self, literal: &str, value: T) -> Result<T> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(literal.as_bytes()) {
            self.at += literal.len();
            return Ok(value);
        }
        let same = rest.iter().zip(literal.as_bytes()).take_while(|(left, right)| left == right).count();
        Err(self.syntax(self.at + same))
    }

    /// Reads a non-negative integer.
    pub(super) fn unsigned<T: TryFrom<u64>>(&mut self, expected: &'static str) -> Result<T> {
        self.peek();
        let value = self.magnitude(self.at).and_then(|(value, end)| Some((T::try_from(value).ok()?, end)));
        let Some((value, end)) = value else { return Err(self.mismatch(expected)) };
        self.at = end;
        Ok(value)
    }

    /// Reads an integer. `-0` is an error: other parsers treat it as a floating-point number.
    pub(super) fn signed<T: TryFrom<i64>>(&mut self, expected: &'static str) -> Result<T> {
        let is_negative = self.peek() == Some(b'-');
        let value = self.magnitude(self.at + usize::from(is_negative)).and_then(|(value, end)| {
            let value = if is_negative {
                0_i64.checked_sub_unsigned(value).filter(|value| *value != 0)?
            } else {
                i64::try_from(value).ok()?
            };
            Some((T::try_from(value).ok()?, end))
        });
        let Some((value, end)) = value else { return Err(self.mismatch(expected)) };
        self.at = end;
        Ok(value)
    }

    /// Parses the digits at `start` and returns the number and their end; `None` unless they are a 64-bit integer.
    fn magnitude(&self, start: usize) -> Option<(u64, usize)> {
        // Any number with this many digits fits into 64 bits.
        const SAFE_DIGITS: usize = 19;
        let bytes = self.text.as_bytes();
        let (mut value, mut at) = match bytes.get(start..).and_then(<[u8]>::first_chunk).copied().and_then(eight_digits)
        {
            Some(value) => (value, start + 8),
            None => (0, start),
        };
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            let digit = u64::from(digit - b'0');
            value = if at - start < SAFE_DIGITS {
                value * 10 + digit
            } else {
                value.checked_mul(10)?.checked_add(digit)?
            };
            at += 1;
        }
        let has_leading_zero = bytes.get(start) == Some(&b'0') && at > start + 1;
        let is_integer = at > start && !has_leading_zero && !matches!(bytes.get(at), Some(b'.' | b'e' | b'E'));
        is_integer.then_some((value, at))
    }

    /// Reads a string and converts it with `parse`.
    pub(super) fn parsed<T>(&mut self, expected: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let start = self.clone();
        let parsed = match self.peek() {
            Some(b'"') => parse(&self.string()?),
            _ => None,
        };
        parsed.ok_or_else(|| start.mismatch(expected))
    }

    /// Reads a string; borrowed unless it has escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() == Some(b'"') {
            let start = self.at + 1;
            let end = plain_end(self.text.as_bytes(), start);
            if self.text.as_bytes().get(end) == Some(&b'"') {
                self.at = end + 1;
                return Ok(Cow::Borrowed(&self.text[start..end]));
            }
        }
        self.escaped_string().map(Cow::Owned)
    }

    /// Reads a string with escapes, or returns the error for another value.
    #[cold]
    fn escaped_string(&mut self) -> Result<String> {
        if self.peek() != Some(b'"') {
            return Err(self.mismatch("a string"));
        }
        self.at += 1;
        let mut string = String::new();
        loop {
            let start = self.at;
            self.at = plain_end(self.text.as_bytes(), start);
            string.push_str(&self.text[start..self.at]);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => string.push(self.escape()?),
                _ => return Err(self.syntax(self.at)),
            }
        }
        self.at += 1;
        Ok(string)
    }

    /// Reads an escape, whose backslash is next.
    fn escape(&mut self) -> Result<char> {
        let start = self.at;
        let character = match self.text.as_bytes().get(start + 1) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.code_unit()?;
                let second = match unit {
                    // The first half of a surrogate pair.
                    0xd800..=0xdbff => Some(self.code_unit()?),
                    _ => None,
                };
                return match char::decode_utf16([unit].into_iter().chain(second)).next() {
                    Some(Ok(character)) => Ok(character),
                    _ => Err(self.syntax(start)),
                };
            }
            _ => return Err(self.syntax(start + 1)),
        };
        self.at += 2;
        Ok(character)
    }

    /// Reads `\uXXXX`, which is next.
    fn code_unit(&mut self) -> Result<u16> {
        let is_good = |(index, byte): &(usize, &u8)| match index {
            0 => **byte == b'\\',
            1 => **byte == b'u',
            _ => byte.is_ascii_hexdigit(),
        };
        let rest = &self.text.as_bytes()[self.at..];
        let end = self.at + rest.iter().take(6).enumerate().take_while(is_good).count();
        match self.text.get(self.at + 2..end).filter(|digits| digits.len() == 4) {
            Some(digits) => {
                let unit = u16::from_str_radix(digits, 16).map_err(|_| self.syntax(self.at))?;
                self.at = end;
                Ok(unit)
            }
            None => Err(self.syntax(end)),
        }
    }

    /// Skips any value.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.skip_nested(MAX_DEPTH)
    }

    fn skip_nested(&mut self, depth: u32) -> Result<()> {
        let byte = self.peek();
        if matches!(byte, Some(b'{' | b'[')) && depth == 0 {
            return Err(Box::new(ParseError::Depth(self.at)));
        }
        match byte {
            Some(b'{') => {
                let mut place = self.open_object()?;
                while self.next_name(&mut place)?.is_some() {
                    self.skip_nested(depth - 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                let mut place = self.open_array()?;
                while self.next_element(&mut place)? {
                    self.skip_nested(depth - 1)?;
                }
                Ok(())
            }
            Some(b'"') => self.string().map(drop),
            Some(b't' | b'f') => self.bool().map(drop),
            Some(b'n') => self.literal("null", ()),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ => Err(self.syntax(self.at)),
        }
    }

    fn skip_number(&mut self) -> Result<()> {
        let is_next =
            |json: &Self, bytes: &[u8]| json.text.as_bytes().get(json.at).is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(is_next(self, b"-"));
        if is_next(self, b"0") {
            self.at += 1;
            if is_next(self, b"0123456789") {
                return Err(self.syntax(self.at));
            }
        } else {
            self.digits()?;
        }
        if is_next(self, b".") {
            self.at += 1;
            self.digits()?;
        }
        if is_next(self, b"eE") {
            self.at += 1;
            self.at += usize::from(is_next(self, b"+-"));
            self.digits()?;
        }
        Ok(())
    }

    /// Skips one or more digits.
    fn digits(&mut self) -> Result<()> {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.syntax(self.at)) } else { Ok(()) }
    }
}

/// Finds the end of the plain part of a string: a quote, a backslash, a control character, or the end of the text.
fn plain_end(bytes: &[u8], start: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = start;
    // Eight bytes at a time. A borrow can only set bits above the first match, and only that one is used.
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let quotes = zero(word ^ (ONES * u64::from(b'"')));
        let backslashes = zero(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quotes | backslashes | controls) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count()
}

/// Parses eight digits with three multiplications: with one per digit, parsing an event takes 6 % longer.
fn eight_digits(digits: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
    const HIGH_NIBBLES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let word = u64::from_le_bytes(digits);
    // A digit is 0x30 to 0x39, so adding 6 does not change its high nibble.
    let is_digits = word & HIGH_NIBBLES == ZEROS && word.wrapping_add(0x0606_0606_0606_0606) & HIGH_NIBBLES == ZEROS;
    let pairs = (word & !HIGH_NIBBLES).wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    let eight = fours.wrapping_mul(10_000 << 32 | 1) >> 32;
    is_digits.then_some(eight)
}
