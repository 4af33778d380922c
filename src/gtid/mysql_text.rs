//! MySQL's ids and sets as text.
//!
//! A set is `uuid:item[:item]…[,uuid:item…]`, where an item is a number, an interval `n-m` or a
//! tag, and a tag applies to the numbers after it, up to the next tag or comma. White space may
//! surround every part.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::error::GtidError;
use super::intervals::{Interval, Intervals};
use super::mysql::{Gtid, GtidSet, MAX_GNO, Sid, Tag, Uuid};
use super::scan::TextScanner;

const A_UUID: &str = "a UUID";
const A_NUMBER: &str = "a transaction number from 1 to 9223372036854775806";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The UUID, if `text` is one as a whole.
fn read_uuid(text: &str) -> Option<Uuid> {
    let text = match text.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}')?,
        None => text,
    };
    let hyphens = match text.len() {
        36 => true,
        32 => false,
        _ => return None,
    };
    let mut uuid = [0; 16];
    let mut rest = text.bytes();
    for (i, byte) in uuid.iter_mut().enumerate() {
        if hyphens && matches!(i, 4 | 6 | 8 | 10) && rest.next() != Some(b'-') {
            return None;
        }
        for _ in 0..2 {
            let digit = char::from(rest.next()?).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(digit).ok()?;
        }
    }
    Some(Uuid(uuid))
}

fn scan_uuid(scanner: &mut TextScanner<'_>) -> Result<Uuid, GtidError> {
    let at = scanner.at();
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'{' | b'}');
    match scanner.take_while(word) {
        "" => Err(scanner.error(A_UUID)),
        text => read_uuid(text).ok_or_else(|| GtidError::text(A_UUID, at, text)),
    }
}

/// A tag, if the next part cannot be a number.
fn scan_tag(scanner: &mut TextScanner<'_>) -> Result<Option<Tag>, GtidError> {
    let at = scanner.at();
    if !scanner
        .peek()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
    {
        return Ok(None);
    }
    let text = scanner.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
    Tag::parse(text).map(Some).map_err(|e| e.shifted(at))
}

fn scan_interval(scanner: &mut TextScanner<'_>) -> Result<Interval, GtidError> {
    let start = scanner.number(1, MAX_GNO, A_NUMBER)?;
    scanner.skip_space();
    if !scanner.eat(b'-') {
        return Ok(Interval { start, end: start });
    }
    scanner.skip_space();
    let end = scanner.number(start, MAX_GNO, "the last number, not below the first,")?;
    Ok(Interval { start, end })
}

impl FromStr for Uuid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Uuid, GtidError> {
        read_uuid(text).ok_or_else(|| GtidError::text(A_UUID, 0, text))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:?})", self.as_str())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tag {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Tag, GtidError> {
        Tag::parse(text)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tag.is_empty() {
            write!(f, "{}", self.uuid)
        } else {
            write!(f, "{}:{}", self.uuid, self.tag)
        }
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sid, self.gno)
    }
}

impl FromStr for Gtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Gtid, GtidError> {
        let mut scanner = TextScanner::new(text);
        scanner.skip_space();
        let uuid = scan_uuid(&mut scanner)?;
        scanner.expect(b':', "a colon after the UUID")?;
        let tag = scan_tag(&mut scanner)?;
        if tag.is_some() {
            scanner.expect(b':', "a colon after the tag")?;
        }
        let gno = scanner.number(1, MAX_GNO, A_NUMBER)?;
        scanner.skip_space();
        scanner.end("the end of the GTID")?;
        Ok(Gtid {
            sid: Sid {
                uuid,
                tag: tag.unwrap_or_default(),
            },
            gno,
        })
    }
}

impl GtidSet {
    /// As mysqld prints it in `gtid_executed` and `SHOW BINARY LOG STATUS`: a line break after
    /// the comma between UUIDs.
    pub fn to_mysql_string(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, ",\n");
        text
    }

    fn write(&self, out: &mut impl fmt::Write, separator: &str) -> fmt::Result {
        let mut last = None;
        for (sid, intervals) in &self.sources {
            match last {
                Some(uuid) if uuid == sid.uuid => {}
                Some(_) => write!(out, "{separator}{}", sid.uuid)?,
                None => write!(out, "{}", sid.uuid)?,
            }
            if !sid.tag.is_empty() {
                write!(out, ":{}", sid.tag)?;
            }
            last = Some(sid.uuid);
            for Interval { start, end } in intervals.iter() {
                write!(out, ":{start}")?;
                if start != end {
                    write!(out, "-{end}")?;
                }
            }
        }
        Ok(())
    }
}

/// On one line: a comma alone between UUIDs. See [`GtidSet::to_mysql_string`].
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, ",")
    }
}

/// Reads `uuid:item[:item]…` up to the comma or the end.
fn scan_source(
    scanner: &mut TextScanner<'_>,
    found: &mut BTreeMap<Sid, Vec<Interval>>,
) -> Result<(), GtidError> {
    let mut sid = Sid {
        uuid: scan_uuid(scanner)?,
        tag: Tag::NONE,
    };
    scanner.skip_space();
    scanner.expect(b':', "a colon after the UUID")?;
    loop {
        scanner.skip_space();
        if let Some(tag) = scan_tag(scanner)? {
            sid.tag = tag;
            scanner.skip_space();
            scanner.expect(b':', "a colon and a number after the tag")?;
            scanner.skip_space();
        }
        found.entry(sid).or_default().push(scan_interval(scanner)?);
        scanner.skip_space();
        if !scanner.eat(b':') {
            return Ok(());
        }
    }
}

/// Accepts any order, repeated UUIDs, overlaps, white space and empty parts between commas; unlike
/// mysqld it refuses a UUID without numbers, and an interval whose end is below its start.
impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<GtidSet, GtidError> {
        let mut scanner = TextScanner::new(text);
        // Sorted once at the end: inserting into the set one by one would be quadratic for
        // numbers in descending order.
        let mut found = BTreeMap::<Sid, Vec<Interval>>::new();
        loop {
            scanner.skip_space();
            match scanner.peek() {
                None => break,
                Some(b',') => {}
                Some(_) => scan_source(&mut scanner, &mut found)?,
            }
            if !scanner.eat(b',') {
                scanner.end("a number, a colon, a comma or the end")?;
            }
        }
        let normal = found
            .into_iter()
            .map(|(sid, all)| (sid, Intervals::from_unsorted(all)));
        Ok(GtidSet {
            sources: normal.collect(),
        })
    }
}
