use super::*;
use proptest::prelude::*;

/// Feeds `wire` to a reader through a buffer of `capacity` bytes, at most `step` bytes at a time,
/// and returns the reassembled packets, with the kinds of their parts.
fn read_all(wire: &[u8], capacity: usize, step: usize) -> Vec<(Vec<u8>, String)> {
    let mut reader = FrameReader::new();
    let (mut packets, mut current, mut kinds) = (Vec::new(), Vec::new(), String::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match reader.next(&wire[start..end], capacity).unwrap() {
            Some((consumed, part)) => {
                start += consumed;
                assert!(start <= end);
                current.extend_from_slice(part.bytes());
                kinds.push(match part {
                    PacketPart::Whole(_) => 'W',
                    PacketPart::Begin(_) => 'B',
                    PacketPart::Continue(bytes) => {
                        assert!(!bytes.is_empty());
                        'C'
                    }
                    PacketPart::End(_) => 'E',
                });
                if part.is_last() {
                    packets.push((std::mem::take(&mut current), std::mem::take(&mut kinds)));
                }
            }
            None => {
                let more = step.min(capacity - (end - start)).min(wire.len() - end);
                if more == 0 {
                    assert_eq!(end, wire.len(), "a full buffer without a part is a hang");
                    assert!(reader.is_idle() && current.is_empty());
                    return packets;
                }
                end += more;
            }
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut sequence) = (Vec::new(), 0);
    for payload in payloads {
        put_packet(&mut out, &mut sequence, payload);
    }
    out
}

#[test]
fn small_packets_in_the_buffer_are_returned_whole() {
    let payloads = vec![pattern(0), pattern(1), pattern(1020)];
    let packets = read_all(&framed(&payloads), 1024, usize::MAX);
    let expected: Vec<_> = payloads
        .into_iter()
        .map(|bytes| (bytes, "W".to_owned()))
        .collect();
    assert_eq!(packets, expected);
}

#[test]
fn a_packet_one_byte_too_long_for_the_buffer_is_returned_in_parts() {
    let packets = read_all(&framed(&[pattern(1021)]), 1024, usize::MAX);
    assert_eq!(packets, [(pattern(1021), "BE".to_owned())]);
}

#[test]
fn begin_waits_for_64_bytes() {
    let wire = framed(&[pattern(5000)]);
    let mut reader = FrameReader::new();
    for cut in 0..4 + 64 {
        assert_eq!(
            reader.next(&wire[..cut], 1024).unwrap(),
            None,
            "cut at {cut}"
        );
    }
    let part = reader.next(&wire[..68], 1024).unwrap();
    assert_eq!(part, Some((68, PacketPart::Begin(&wire[4..68]))));
}

#[test]
fn sizes_around_16_mib_round_trip() {
    let max = FRAME_PAYLOAD_MAX;
    for (length, headers) in [
        (max - 1, 1),
        (max, 2),
        (max + 1, 2),
        (2 * max - 1, 2),
        (2 * max, 3),
        (2 * max + 3, 3),
    ] {
        let payloads = [pattern(length), pattern(7)];
        let wire = framed(&payloads);
        assert_eq!(wire.len(), length + headers * 4 + 11, "{length}");
        for capacity in [READ_BUFFER_MIN, 512 << 10, 64 << 20] {
            let packets = read_all(&wire, capacity, usize::MAX);
            assert_eq!(packets.len(), 2);
            assert!(
                packets[0].0 == payloads[0],
                "{length} bytes through {capacity}"
            );
            assert_eq!(packets[1], (payloads[1].clone(), "W".to_owned()));
        }
    }
}

#[test]
fn an_exact_multiple_ends_with_an_empty_frame() {
    let wire = framed(&[pattern(FRAME_PAYLOAD_MAX)]);
    assert_eq!(wire[..4], [0xFF, 0xFF, 0xFF, 0]);
    assert_eq!(wire[wire.len() - 4..], [0, 0, 0, 1]);
}

#[test]
fn pieces_make_the_same_frames_as_the_whole() {
    let payload = pattern(FRAME_PAYLOAD_MAX * 2);
    let whole = framed(std::slice::from_ref(&payload));
    let mut writer = FrameWriter::new();
    let mut out = Vec::new();
    writer.begin(payload.len() as u64);
    for piece in payload.chunks(1_000_003) {
        assert!(!writer.is_complete());
        writer.put(&mut out, piece);
    }
    assert!(writer.is_complete());
    assert!(out == whole);
    assert_eq!(writer.sequence(), 3);
}

#[test]
fn an_unexpected_sequence_number_is_reported() {
    let mut reader = FrameReader::new();
    let error = reader.next(&[1, 0, 0, 5, 9], 1024).unwrap_err();
    let text = "invalid packet header at byte 3: expected sequence number 0, found 5";
    assert_eq!(error.to_string(), text);
    reader.accept_any_sequence();
    assert_eq!(
        reader.next(&[1, 0, 0, 5, 9], 1024).unwrap(),
        Some((5, PacketPart::Whole(&[9])))
    );
    // Only for the next frame: then counting continues.
    assert_eq!(reader.sequence(), 6);
    assert!(reader.next(&[1, 0, 0, 5, 9], 1024).is_err());
}

#[test]
fn the_sequence_number_of_a_continuing_frame_is_checked() {
    let mut wire = framed(&[pattern(FRAME_PAYLOAD_MAX + 2)]);
    wire[FRAME_PAYLOAD_MAX + 4 + 3] = 7;
    let mut reader = FrameReader::new();
    let (consumed, _) = reader.next(&wire, 64 << 20).unwrap().unwrap();
    let error = reader.next(&wire[consumed..], 64 << 20).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected sequence number 1, found 7"),
        "{error}"
    );
}

#[test]
fn sequence_numbers_wrap_around() {
    let payloads: Vec<_> = (0..300).map(|_| pattern(1)).collect();
    assert_eq!(read_all(&framed(&payloads), 1024, 7).len(), 300);
}

#[test]
fn missing_counts_to_the_end_of_the_packet() {
    let wire = framed(&[pattern(10), pattern(5000)]);
    let mut reader = FrameReader::new();
    for (length, missing) in [(0, 4), (3, 1), (4, 10), (13, 1), (14, 0), (20, 0)] {
        assert_eq!(
            reader.missing(&wire[..length]),
            missing,
            "{length} bytes there"
        );
    }
    reader.next(&wire[..14], 1024).unwrap().unwrap();
    let (consumed, _) = reader.next(&wire[14..114], 1024).unwrap().unwrap();
    assert_eq!((consumed, reader.missing(&[])), (100, 5000 - 96));
}

proptest! {
    #[test]
    fn any_packets_pass_through_any_buffer(
        lengths in prop::collection::vec(0usize..5000, 0..12),
        capacity in READ_BUFFER_MIN..8192,
        step in 1usize..3000,
    ) {
        let payloads: Vec<_> = lengths.into_iter().map(pattern).collect();
        let packets = read_all(&framed(&payloads), capacity, step);
        prop_assert_eq!(packets.len(), payloads.len());
        for ((read, kinds), sent) in packets.iter().zip(&payloads) {
            prop_assert_eq!(read, sent);
            if sent.len() + 4 <= capacity {
                prop_assert_eq!(kinds, "W");
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let mut reader = FrameReader::new();
        let mut rest = bytes.as_slice();
        while let Ok(Some((consumed, part))) = reader.next(rest, READ_BUFFER_MIN) {
            prop_assert!(consumed > 0 && part.bytes().len() <= consumed);
            rest = &rest[consumed..];
            reader.accept_any_sequence();
        }
    }
}
