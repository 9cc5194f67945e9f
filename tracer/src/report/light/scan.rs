//! Members of a JSON object, without building what is not asked for.
//!
//! A report needs a tenth of what a line holds. Values are found by their ends alone: strings by their closing
//! quote, objects and arrays by their closing bracket. What is asked for is then read strictly.

use std::borrow::Cow;

/// A line that is no JSON object, or whose value is not of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of this format")]
pub(crate) struct Malformed;

/// Raw key and raw value.
pub(super) type Member<'a> = (&'a [u8], &'a [u8]);

/// The members of an object.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Next,
    Ended,
}

impl<'a> Members<'a> {
    /// The members of the object that `bytes` begins with.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, state: State::First }
    }

    /// The next member; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Member<'a>>, Malformed> {
        match self.next_key()? {
            Some(key) => Ok(Some((key, self.value()?))),
            None => Ok(None),
        }
    }

    /// The next key; its value comes next.
    pub(super) fn next_key(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let opening = match self.state {
            State::First => b'{',
            State::Next => b',',
            State::Ended => return Ok(None),
        };
        self.skip_space();
        if self.state == State::Next && self.peek()? == b'}' {
            self.at += 1;
            self.state = State::Ended;
            return Ok(None);
        }
        self.expect(opening)?;
        self.skip_space();
        if self.state == State::First && self.peek()? == b'}' {
            self.state = State::Ended;
            return Ok(None);
        }
        self.state = State::Next;
        if self.peek()? != b'"' {
            return Err(Malformed);
        }
        let end = end_of_string(self.bytes, self.at)?;
        let key = self.bytes.get(self.at + 1..end - 1).ok_or(Malformed)?;
        self.at = end;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(Some(key))
    }

    /// What was not looked at yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether the closing brace was found.
    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The members from here on, for one who knows that a comma stands in front of the next.
    pub(super) fn from_comma(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, state: State::Next }
    }

    fn peek(&self) -> Result<u8, Malformed> {
        self.bytes.get(self.at).copied().ok_or(Malformed)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Malformed> {
        if self.peek()? != wanted {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The value of the key that was last.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let end = end_of_value(self.bytes, self.at)?;
        let value = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(value)
    }
}

/// The elements of an array: raw values.
#[derive(Clone, Debug)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Elements<'a> {
    /// The elements of the array that `bytes` begins with.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let array = bytes.get(..end_of_value(bytes, 0)?).ok_or(Malformed)?;
        let inner = array.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).ok_or(Malformed)?;
        Ok(Self { bytes: inner, at: 0 })
    }

    /// The next element; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n' | b',')) {
            self.at += 1;
        }
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let end = end_of_value(self.bytes, self.at)?;
        let value = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(Some(value))
    }
}

/// Where the value that begins at `at` ends.
fn end_of_value(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    match bytes.get(at).ok_or(Malformed)? {
        b'"' => end_of_string(bytes, at),
        b'{' | b'[' => end_of_nest(bytes, at),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || *byte <= b' ';
            let length = bytes.get(at..).and_then(|rest| rest.iter().position(ends));
            let end = length.map_or(bytes.len(), |length| at + length);
            if end == at { Err(Malformed) } else { Ok(end) }
        }
    }
}

/// Where the string ends whose opening quote is at `at`.
#[inline]
fn end_of_string(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let mut next = at + 1;
    loop {
        let marks = |word| equal(word, b'"') | equal(word, b'\\');
        next = find(bytes, next, marks).ok_or(Malformed)?;
        if bytes.get(next) == Some(&b'"') {
            return Ok(next + 1);
        }
        next += 2;
    }
}

/// Where the object or array ends whose opening bracket is at `at`.
fn end_of_nest(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    // Square brackets and braces differ in one bit.
    const FOLD: u64 = splat(b'{' ^ b'[');
    let mut depth = 0_usize;
    let mut next = at;
    loop {
        let marks = |word| equal(word, b'"') | equal(word | FOLD, b'{') | equal(word | FOLD, b'}');
        next = find(bytes, next, marks).ok_or(Malformed)?;
        match bytes.get(next) {
            Some(b'"') => {
                next = end_of_string(bytes, next)?;
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            _ => {
                depth -= 1;
                if depth == 0 {
                    return Ok(next + 1);
                }
            }
        }
        next += 1;
    }
}

/// Bytes that are looked at together: most strings and numbers of an event are shorter than a call to a search is long.
const WORD_BYTES: usize = 8;

/// Every byte of a word.
const fn splat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD_BYTES])
}

/// The high bit of each byte of a word that is `byte`. Above the first, others may be marked too.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    let zeroes = word ^ splat(byte);
    zeroes.wrapping_sub(splat(1)) & !zeroes & splat(0x80)
}

/// The first place from `at` on that is marked.
#[inline]
fn find(bytes: &[u8], at: usize, marks: impl Fn(u64) -> u64) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    while let Some((word, after)) = rest.split_first_chunk::<WORD_BYTES>() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return Some(bytes.len() - rest.len() + first(marked));
        }
        rest = after;
    }
    // What is not there is marked by nobody.
    let mut last = [0; WORD_BYTES];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let marked = marks(u64::from_le_bytes(last));
    (marked != 0).then(|| bytes.len() - rest.len() + first(marked))
}

/// The place of the first marked byte.
#[inline]
const fn first(marked: u64) -> usize {
    marked.trailing_zeros() as usize / 8
}

/// The text of a raw string.
pub(super) fn string(raw: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    let inner = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).ok_or(Malformed)?;
    if find(inner, 0, |word| equal(word, b'\\')).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_slice::<String>(raw).map(|text| Cow::Owned(text.into_bytes())).map_err(|_| Malformed)
}

/// The bytes that a raw string gives in hexadecimal.
pub(super) fn hex(raw: &[u8]) -> Result<Vec<u8>, Malformed> {
    let digits = string(raw)?;
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().ok_or(Malformed)
}

/// The number that a raw value is.
pub(super) fn number<T: std::str::FromStr>(raw: &[u8]) -> Result<T, Malformed> {
    std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Elements, Malformed, Member, Members, hex, number, string};

    fn members(text: &[u8]) -> Result<Vec<Member<'_>>, Malformed> {
        let mut members = Members::new(text);
        let mut out = Vec::new();
        while let Some(member) = members.next()? {
            out.push(member);
        }
        Ok(out)
    }

    /// Check that members are found in any spelling, nested brackets and quotes in strings or not.
    #[test]
    fn finds_members() {
        let text = br#" { "a" : 1 ,"b":"x\"}" , "c":{"d":["]}",{}]},"e":[],"f":null}"#;
        let expected: Vec<Member<'_>> =
            vec![(b"a", b"1"), (b"b", br#""x\"}""#), (b"c", br#"{"d":["]}",{}]}"#), (b"e", b"[]"), (b"f", b"null")];
        assert_eq!(members(text), Ok(expected));
        assert_eq!(members(b"{}"), Ok(vec![]));
        for broken in [&b""[..], b"{", b"[]", b"{\"a\"}", b"{\"a\":}", b"{\"a\":1", b"{\"a\":\"x", b"{a:1}"] {
            assert_eq!(members(broken), Err(Malformed), "{}", broken.escape_ascii());
        }
    }

    /// Check that values are read as what they are.
    #[test]
    fn reads_values() {
        assert_eq!(string(br#""a\n\u00fc""#).as_deref(), Ok("a\nü".as_bytes()));
        assert_eq!(string(b"7"), Err(Malformed));
        assert_eq!(hex(b"\"00ff\""), Ok(vec![0, 255]));
        assert_eq!(hex(b"\"0\""), Err(Malformed));
        assert_eq!((number::<i32>(b"-17"), number::<u8>(b"300")), (Ok(-17), Err(Malformed)));
        let mut elements = Elements::new(br#"[{"a":1}, "]" ,3]"#).unwrap();
        let mut found = Vec::new();
        while let Some(element) = elements.next().unwrap() {
            found.push(element);
        }
        assert_eq!(found, [&br#"{"a":1}"#[..], br#""]""#, b"3"]);
    }

    proptest! {
        /// Check that nothing panics, whatever comes in.
        #[test]
        fn survives_anything(text in "[\\[\\]{}\":,a\\\\ 1]{0,40}") {
            let _ = members(text.as_bytes());
            let _ = Elements::new(text.as_bytes()).map(|mut elements| while let Ok(Some(_)) = elements.next() {});
        }

        /// Check that what a real parser reads of an object is found, member by member.
        #[test]
        fn agrees_with_a_parser(map in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..6)) {
            let text = serde_json::to_string(&map).unwrap();
            let found = members(text.as_bytes()).unwrap();
            let values: Vec<_> = found.iter().map(|(_, value)| string(value).unwrap().into_owned()).collect();
            let wanted: Vec<_> = map.into_values().map(String::into_bytes).collect();
            prop_assert_eq!(values, wanted);
        }
    }
}
