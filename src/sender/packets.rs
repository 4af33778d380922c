//! The packets of one dump: each holds one event and, in a semi-synchronous dump, a header before it.
//!
//! The event that ends at the published end of the log asks for an acknowledgement, which covers everything
//! before it. While a replica catches up, nothing asks: as on servers, which ask only for what a commit
//! waits for.

use crate::protocol::framing::FrameWriter;
use crate::protocol::semi_sync;

/// What was sent of the part of a file up to the published end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentRegion {
    /// The event at the end asks for an acknowledgement.
    pub asks: bool,
    /// Events of transactions were sent, or skipped although the replica does not have them.
    pub has_sent: bool,
    /// Events of transactions precede the end in this file, whether they were sent or not.
    pub has_transactions: bool,
}

/// Frames the events of one dump.
#[derive(Debug)]
pub struct Packets {
    /// Splits packets into frames. The packet in it is complete whenever an event begins: checked
    /// there.
    pub frames: FrameWriter,
    is_semi_sync: bool,
    /// Where the event ends that is to be acknowledged.
    ask_at: Option<u64>,
    /// Whether the packet that was begun last asks for an acknowledgement, and is not complete.
    is_asking: bool,
    /// Whether the newest complete packet asks for one.
    has_asked: bool,
    region: SentRegion,
}

impl Packets {
    /// `starts_in_file`: whether events of the file precede the first one that is sent.
    pub fn new(is_semi_sync: bool, starts_in_file: bool) -> Self {
        Self {
            frames: FrameWriter::new(),
            is_semi_sync,
            ask_at: None,
            is_asking: false,
            has_asked: false,
            region: SentRegion {
                has_transactions: starts_in_file,
                ..SentRegion::default()
            },
        }
    }

    /// In a semi-synchronous dump, the event that ends at `end` is to be acknowledged.
    pub fn ask_at(&mut self, end: Option<u64>) {
        self.ask_at = end.filter(|_| self.is_semi_sync);
    }

    /// Another file begins.
    pub fn start_file(&mut self) {
        self.region.has_transactions = false;
    }

    /// An event of a transaction is next; `is_lacked`: it is sent in some form, or the replica will not have it.
    pub fn note_event(&mut self, is_lacked: bool) {
        self.region.has_transactions = true;
        self.region.has_sent |= is_lacked;
    }

    /// Whether a packet since the last call asks for an acknowledgement and is complete: then it is the
    /// newest one.
    pub fn take_asked(&mut self) -> bool {
        std::mem::take(&mut self.has_asked)
    }

    /// What was sent since the last call.
    pub fn take_region(&mut self) -> SentRegion {
        let region = self.region;
        self.region.asks = false;
        self.region.has_sent = false;
        region
    }

    /// The number of the next packet; `None` inside a packet.
    pub fn next_sequence(&self) -> Option<u8> {
        let is_complete = self.frames.is_complete();
        is_complete.then(|| self.frames.sequence())
    }

    /// Begins the packet of an event of `event_len` bytes that ends at `end` of the file; `None` for one
    /// that is not in the file.
    ///
    /// # Errors
    /// The packet before is not complete.
    pub fn begin(
        &mut self,
        event_len: u64,
        end: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if !self.frames.is_complete() {
            return Err("an event begins inside the packet of another one");
        }
        if !self.is_semi_sync {
            self.frames.begin(1 + event_len);
            self.frames.put(out, &[0]);
            return Ok(());
        }
        let asks = end.is_some() && end == self.ask_at;
        let [magic, flag] = semi_sync::event_header(asks);
        self.frames.begin(3 + event_len);
        self.frames.put(out, &[0, magic, flag]);
        self.is_asking = asks;
        self.region.asks |= asks;
        Ok(())
    }

    /// Appends the packet's next bytes.
    pub fn put(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        self.frames.put(out, bytes);
        self.end_if_complete();
    }

    /// Bytes of the packet were appended: when it is complete and asks for an acknowledgement, packet
    /// numbers continue with 1.
    pub fn end_if_complete(&mut self) {
        if self.is_asking && self.frames.is_complete() {
            self.is_asking = false;
            self.has_asked = true;
            self.frames.set_sequence(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(packets: &mut Packets, event: &[u8], end: Option<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        packets.begin(event.len() as u64, end, &mut out).unwrap();
        let (head, tail) = event.split_at(2);
        packets.put(&mut out, head);
        packets.put(&mut out, tail);
        out
    }

    #[test]
    fn an_ordinary_dump_has_no_header() {
        let mut packets = Packets::new(false, false);
        packets.ask_at(Some(50));
        assert_eq!(
            framed(&mut packets, b"event", Some(50)),
            b"\x06\0\0\0\0event"
        );
        assert_eq!(framed(&mut packets, b"event", None), b"\x06\0\0\x01\0event");
        assert_eq!(packets.take_region(), SentRegion::default());
    }

    #[test]
    fn only_the_event_at_the_published_end_asks_and_packet_numbers_continue_with_1() {
        let mut packets = Packets::new(true, false);
        packets.frames.set_sequence(7);
        packets.ask_at(Some(50));
        packets.note_event(true);
        let first = framed(&mut packets, b"event", Some(45));
        assert_eq!(first, b"\x08\0\0\x07\0\xef\0event");
        let last = framed(&mut packets, b"event", Some(50));
        assert_eq!(last, b"\x08\0\0\x08\0\xef\x01event");
        let heartbeat = framed(&mut packets, b"beat", None);
        assert_eq!(heartbeat, b"\x07\0\0\x01\0\xef\0beat");
        let region = packets.take_region();
        assert!(region.asks && region.has_sent && region.has_transactions);
        packets.start_file();
        assert_eq!(packets.take_region(), SentRegion::default());
    }
}
