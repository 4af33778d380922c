use super::*;
use crate::protocol::framing::{FrameReader, PacketPart};
use crate::protocol::{ProtocolError, ServerError};

fn packets(wire: &[u8], first_sequence: u8) -> Vec<Vec<u8>> {
    let mut reader = FrameReader::new();
    reader.set_sequence(first_sequence);
    let mut rest = wire;
    let mut packets = Vec::new();
    while let Some((consumed, part)) = reader.next(rest, 1 << 20).unwrap() {
        let PacketPart::Whole(bytes) = part else {
            panic!("{part:?}")
        };
        packets.push(bytes.to_vec());
        rest = &rest[consumed..];
    }
    assert!(rest.is_empty());
    packets
}

fn read(packets: &[Vec<u8>], limits: ResultLimits) -> Result<QueryResponse, ProtocolError> {
    let mut reader = QueryResponseReader::new(limits);
    for (index, packet) in packets.iter().enumerate() {
        if let Some(response) = reader.push(packet)? {
            assert_eq!(index + 1, packets.len(), "done too early");
            return Ok(response);
        }
    }
    panic!("not complete after {} packets", packets.len())
}

fn encoded_result() -> Vec<Vec<u8>> {
    let columns = [Column::text("Variable_name"), Column::integer("Value")];
    let rows = [
        vec![Some(b"server_id".to_vec()), Some(b"900".to_vec())],
        vec![Some(vec![b'x'; 300]), None],
        vec![Some(b"short row".to_vec())],
    ];
    let (mut out, mut sequence) = (Vec::new(), 1);
    put_text_result(&mut out, &mut sequence, &columns, &rows);
    assert_eq!(sequence, 1 + 8);
    packets(&out, 1)
}

#[test]
fn a_text_result_round_trips() {
    let QueryResponse::Rows(result) = read(&encoded_result(), ResultLimits::default()).unwrap()
    else {
        panic!("not rows")
    };
    assert_eq!(result.columns, ["Variable_name", "Value"]);
    assert_eq!(result.single().as_deref(), Some("server_id"));
    assert_eq!(result.value(0, "VALUE").as_deref(), Some("900"));
    assert_eq!(result.rows[1], [Some(vec![b'x'; 300]), None]);
    assert_eq!(result.rows[2], [Some(b"short row".to_vec()), None]);
    assert_eq!(
        (result.column("nothing"), result.value(9, "Value")),
        (None, None)
    );
}

#[test]
fn a_result_truncated_in_any_packet_never_yields_other_rows() {
    let whole = encoded_result();
    for index in 0..whole.len() {
        for cut in 0..whole[index].len() {
            let mut reader = QueryResponseReader::new(ResultLimits::default());
            for packet in &whole[..index] {
                assert!(matches!(reader.push(packet), Ok(None)));
            }
            // The fields of a column definition after its name are not read.
            let in_column_tail = (1..=2).contains(&index) && cut >= whole[index].len() - 14;
            // An EOF between columns and rows is recognised by its first byte.
            let in_columns_end = index == 3 && cut > 0;
            let outcome = reader.push(&whole[index][..cut]);
            assert!(
                outcome.is_err() || in_column_tail || in_columns_end,
                "packet {index} cut at {cut}: {outcome:?}"
            );
        }
    }
}

#[test]
fn an_empty_result_round_trips() {
    let (mut out, mut sequence) = (Vec::new(), 1);
    put_text_result(&mut out, &mut sequence, &[Column::text("File")], &[]);
    let QueryResponse::Rows(result) = read(&packets(&out, 1), ResultLimits::default()).unwrap()
    else {
        panic!("not rows")
    };
    assert_eq!(
        (result.columns.len(), result.rows.len(), result.single()),
        (1, 0, None)
    );
}

#[test]
fn results_beyond_a_limit_are_refused() {
    let limits = ResultLimits::default();
    let cases = [
        (
            ResultLimits {
                rows_max: 2,
                ..limits
            },
            "at most 2 rows",
        ),
        (
            ResultLimits {
                columns_max: 1,
                ..limits
            },
            "at most 1 columns",
        ),
        (
            ResultLimits {
                bytes_max: 300,
                ..limits
            },
            "at most 300 bytes",
        ),
    ];
    for (limits, expected) in cases {
        let error = read(&encoded_result(), limits).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // A huge column count does not cause an allocation.
    let huge = [vec![0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]];
    assert!(read(&huge, ResultLimits::default()).is_err());
}

#[test]
fn ok_round_trips_with_and_without_info() {
    for info in [Vec::new(), b"Rows matched: 1".to_vec(), vec![b'x'; 400]] {
        let ok = OkPacket {
            affected_rows: 70_000,
            last_insert_id: 3,
            info,
            ..OkPacket::default()
        };
        let bytes = ok.encode();
        assert_eq!(OkPacket::decode(&bytes).unwrap(), ok);
        let fixed = 1 + 4 + 1 + 4;
        for cut in 0..fixed {
            assert!(OkPacket::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(
            read(&[bytes], ResultLimits::default()).unwrap(),
            QueryResponse::Ok(ok)
        );
    }
}

#[test]
fn info_without_a_length_is_read_to_the_end() {
    let mut bytes = OkPacket::default().encode();
    bytes.extend_from_slice(b"Hello");
    assert_eq!(OkPacket::decode(&bytes).unwrap().info, b"Hello");
}

#[test]
fn errors_round_trip_and_are_accepted_at_any_step() {
    let error = ServerError::new(1236, "Could not find first log file name");
    let bytes = encode_error(&error);
    assert_eq!(bytes[..9], *b"\xFF\xD4\x04#HY000");
    assert_eq!(parse_error(&bytes).unwrap(), error);
    for cut in 0..3 {
        assert!(parse_error(&bytes[..cut]).is_err());
    }
    let whole = encoded_result();
    for step in 0..whole.len() {
        let mut until = whole[..step].to_vec();
        until.push(bytes.clone());
        let outcome = read(&until, ResultLimits::default());
        assert_eq!(
            outcome,
            Err(ProtocolError::Server(error.clone())),
            "after {step} packets"
        );
    }
}

#[test]
fn a_request_for_a_local_file_is_refused() {
    let outcome = read(&[b"\xFB/etc/passwd".to_vec()], ResultLimits::default());
    assert!(outcome.unwrap_err().to_string().contains("local file"));
}

#[test]
fn an_announced_further_result_is_refused() {
    let ok = OkPacket {
        status: SERVER_MORE_RESULTS_EXISTS,
        ..OkPacket::default()
    };
    assert!(read(&[ok.encode()], ResultLimits::default()).is_err());
}

#[test]
fn eof_is_distinguished_from_a_long_row() {
    assert!(is_eof(&encode_eof(2)));
    assert!(!is_eof(&[0xFE; 9]));
    assert!(!is_eof(&[]));
    assert_eq!(encode_eof(2), [0xFE, 0, 0, 2, 0]);
}
