//! Packets on the wire: a header of 3 bytes length and 1 byte sequence number before at most
//! [`FRAME_PAYLOAD_MAX`] bytes. A payload of that length or more continues in the next frame; one
//! that is an exact multiple of it ends with an empty frame.

use super::InvalidMessage;

/// Length of a frame's header, in bytes.
pub const FRAME_HEADER_LENGTH: usize = 4;
/// The most payload one frame carries, in bytes: 16 MiB − 1.
pub const FRAME_PAYLOAD_MAX: usize = 0xFF_FFFF;
/// The fewest payload bytes in [`PacketPart::Begin`]: enough for the header of a binlog event and
/// the start of its body.
pub const BEGIN_LENGTH_MIN: usize = 64;
/// The smallest read buffer that [`FrameReader`] can work over, in bytes.
pub const READ_BUFFER_MIN: usize = 1024;

/// A packet, or the next part of a packet that is too long for the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketPart<'a> {
    /// The whole payload of a packet.
    Whole(&'a [u8]),
    /// The first bytes of a long packet, at least [`BEGIN_LENGTH_MIN`].
    Begin(&'a [u8]),
    /// Bytes in the middle of a long packet, at least one.
    Continue(&'a [u8]),
    /// The last bytes of a long packet; may be empty.
    End(&'a [u8]),
}

impl<'a> PacketPart<'a> {
    /// The part's bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            PacketPart::Whole(bytes)
            | PacketPart::Begin(bytes)
            | PacketPart::Continue(bytes)
            | PacketPart::End(bytes) => bytes,
        }
    }

    /// True when the packet is complete with this part.
    pub fn is_last(self) -> bool {
        matches!(self, PacketPart::Whole(_) | PacketPart::End(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// At a packet's start.
    Idle,
    /// In a long packet: `remaining` bytes of the current frame have not arrived.
    InFrame { remaining: usize, is_last: bool },
}

/// Finds packets in a read buffer.
#[derive(Debug)]
pub struct FrameReader {
    sequence: u8,
    any_sequence: bool,
    ignores_sequence: bool,
    state: ReadState,
}

impl Default for FrameReader {
    fn default() -> Self {
        FrameReader::new()
    }
}

impl FrameReader {
    /// A reader at a packet's start that expects sequence number 0.
    pub fn new() -> FrameReader {
        FrameReader {
            sequence: 0,
            any_sequence: false,
            ignores_sequence: false,
            state: ReadState::Idle,
        }
    }

    /// The sequence number that the next frame must have.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Sets the sequence number that the next frame must have.
    pub fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
        self.any_sequence = false;
    }

    /// Accepts any number for the next frame and continues from it. For semi-sync
    /// acknowledgements, whose numbers are independent of the stream's.
    pub fn accept_any_sequence(&mut self) {
        self.any_sequence = true;
    }

    /// Accepts any number from now on: the numbers of compressed packets are checked instead.
    pub fn ignore_sequence(&mut self) {
        self.ignores_sequence = true;
    }

    /// True between packets.
    pub fn is_idle(&self) -> bool {
        self.state == ReadState::Idle
    }

    /// The next packet or part of one in `available`, and how many bytes of `available` it
    /// consists of; None when more bytes are needed. `capacity` is the most that `available` can grow to (at
    /// least [`READ_BUFFER_MIN`]): a packet that cannot fit is returned in parts.
    ///
    /// # Errors
    /// A frame with another sequence number than expected.
    pub fn next<'a>(
        &mut self,
        available: &'a [u8],
        capacity: usize,
    ) -> Result<Option<(usize, PacketPart<'a>)>, InvalidMessage> {
        match self.state {
            ReadState::Idle => self.next_packet(available, capacity),
            ReadState::InFrame {
                remaining: 0,
                is_last: false,
            } => self.next_frame(available),
            ReadState::InFrame { remaining, is_last } => {
                if available.is_empty() {
                    return Ok(None);
                }
                Ok(Some(self.take(0, available, remaining, is_last)))
            }
        }
    }

    /// Bytes missing in `available` before [`FrameReader::next`] can return the whole packet that
    /// starts there, or the rest of the current frame. Lets a caller avoid reading past the packet.
    pub fn missing(&self, available: &[u8]) -> usize {
        if let ReadState::InFrame { remaining, .. } = self.state
            && remaining > 0
        {
            return remaining.saturating_sub(available.len());
        }
        match parse_header(available) {
            None => FRAME_HEADER_LENGTH.saturating_sub(available.len()),
            Some((length, _, _)) => (FRAME_HEADER_LENGTH + length).saturating_sub(available.len()),
        }
    }

    /// The payload length of the frame with which a packet begins, and the payload bytes that are in `available`, if
    /// these are not all; `None` within a packet.
    pub fn incomplete<'a>(&self, available: &'a [u8]) -> Option<(usize, &'a [u8])> {
        if self.state != ReadState::Idle {
            return None;
        }
        let (length, _, payload) = parse_header(available)?;
        (payload.len() < length).then_some((length, payload))
    }

    fn next_packet<'a>(
        &mut self,
        available: &'a [u8],
        capacity: usize,
    ) -> Result<Option<(usize, PacketPart<'a>)>, InvalidMessage> {
        let Some((length, sequence, body)) = parse_header(available) else {
            return Ok(None);
        };
        let next_sequence = self.check(sequence)?;
        let is_last = length < FRAME_PAYLOAD_MAX;
        if is_last {
            if let Some((payload, _)) = body.split_at_checked(length) {
                self.set_sequence(next_sequence);
                return Ok(Some((
                    FRAME_HEADER_LENGTH + length,
                    PacketPart::Whole(payload),
                )));
            }
            if FRAME_HEADER_LENGTH + length <= capacity {
                return Ok(None);
            }
        }
        if body.len() < BEGIN_LENGTH_MIN.min(length) {
            return Ok(None);
        }
        self.set_sequence(next_sequence);
        let (consumed, part) = self.take(FRAME_HEADER_LENGTH, body, length, is_last);
        Ok(Some((consumed, PacketPart::Begin(part.bytes()))))
    }

    /// A frame that continues a long packet.
    fn next_frame<'a>(
        &mut self,
        available: &'a [u8],
    ) -> Result<Option<(usize, PacketPart<'a>)>, InvalidMessage> {
        let Some((length, sequence, body)) = parse_header(available) else {
            return Ok(None);
        };
        let next_sequence = self.check(sequence)?;
        if body.is_empty() && length > 0 {
            return Ok(None);
        }
        self.set_sequence(next_sequence);
        let is_last = length < FRAME_PAYLOAD_MAX;
        Ok(Some(self.take(FRAME_HEADER_LENGTH, body, length, is_last)))
    }

    fn take<'a>(
        &mut self,
        header: usize,
        body: &'a [u8],
        remaining: usize,
        is_last: bool,
    ) -> (usize, PacketPart<'a>) {
        let bytes = body
            .split_at_checked(remaining)
            .map_or(body, |(bytes, _)| bytes);
        let remaining = remaining.saturating_sub(bytes.len());
        let part = if remaining == 0 && is_last {
            self.state = ReadState::Idle;
            PacketPart::End(bytes)
        } else {
            self.state = ReadState::InFrame { remaining, is_last };
            PacketPart::Continue(bytes)
        };
        (header + bytes.len(), part)
    }

    fn check(&self, found: u8) -> Result<u8, InvalidMessage> {
        if found != self.sequence && !self.any_sequence && !self.ignores_sequence {
            return Err(InvalidMessage {
                what: "packet header",
                offset: 3,
                expected: format!("sequence number {}", self.sequence).into(),
                found: format!("{found}").into(),
            });
        }
        Ok(found.wrapping_add(1))
    }
}

/// Length, sequence number, and the bytes after the header.
fn parse_header(available: &[u8]) -> Option<(usize, u8, &[u8])> {
    let ([a, b, c, sequence], body) = available.split_first_chunk::<FRAME_HEADER_LENGTH>()?;
    let length = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
    Some((length, *sequence, body))
}

fn put_header(out: &mut Vec<u8>, length: usize, sequence: u8) {
    let [a, b, c, ..] = length.to_le_bytes();
    out.extend_from_slice(&[a, b, c, sequence]);
}

/// Splits packets into frames while their bytes arrive.
#[derive(Debug, Default)]
pub struct FrameWriter {
    sequence: u8,
    /// Payload bytes of the packet that are not in a frame yet.
    unframed: u64,
    /// Payload bytes that the current frame still lacks.
    frame_remaining: usize,
    /// Frames not yet begun, including the empty last one.
    frames: u64,
}

impl FrameWriter {
    /// A writer whose first frame has sequence number 0.
    pub fn new() -> FrameWriter {
        FrameWriter::default()
    }

    /// The sequence number of the next frame.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Sets the sequence number of the next frame.
    pub fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    /// Starts a packet of exactly `payload_length` bytes, to be passed to [`FrameWriter::put`]. The
    /// header of an empty packet is written by a `put` of no bytes.
    ///
    /// The packet before must be complete ([`FrameWriter::is_complete`]).
    pub fn begin(&mut self, payload_length: u64) {
        self.unframed = payload_length;
        self.frame_remaining = 0;
        self.frames = payload_length / FRAME_PAYLOAD_MAX as u64 + 1;
    }

    /// True when all bytes and frames of the current packet were written.
    pub fn is_complete(&self) -> bool {
        self.frames == 0 && self.frame_remaining == 0
    }

    /// Appends the packet's next bytes to `out`, with frame headers where needed. Bytes
    /// beyond the length given to [`FrameWriter::begin`] are ignored: they would be read as the
    /// next packet's header.
    pub fn put(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            if self.frame_remaining == 0 && self.frames > 0 {
                let closing = self.frames == 1 && self.unframed == 0;
                if !rest.is_empty() || closing {
                    self.put_frame_header(out);
                }
            }
            let (now, later) = rest
                .split_at_checked(self.frame_remaining)
                .unwrap_or((rest, &[]));
            out.extend_from_slice(now);
            self.frame_remaining -= now.len();
            let closing_due = self.frame_remaining == 0 && self.frames == 1 && self.unframed == 0;
            rest = later;
            if !closing_due && (rest.is_empty() || self.is_complete()) {
                debug_assert!(rest.is_empty(), "more bytes than the packet was begun with");
                return;
            }
        }
    }

    fn put_frame_header(&mut self, out: &mut Vec<u8>) {
        let length = usize::try_from(self.unframed)
            .unwrap_or(FRAME_PAYLOAD_MAX)
            .min(FRAME_PAYLOAD_MAX);
        put_header(out, length, self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        self.unframed -= length as u64;
        self.frame_remaining = length;
        self.frames -= 1;
    }
}

/// Appends a packet to `out` and advances `sequence` by the number of its frames.
pub fn put_packet(out: &mut Vec<u8>, sequence: &mut u8, payload: &[u8]) {
    let mut writer = FrameWriter::new();
    writer.set_sequence(*sequence);
    writer.begin(payload.len() as u64);
    writer.put(out, payload);
    *sequence = writer.sequence();
}

#[cfg(test)]
mod tests;
