use std::fs;

use super::*;

fn body(spill_size: usize) -> (tempfile::TempDir, Body) {
    let dir = tempfile::tempdir().unwrap();
    let body = Body::new(dir.path().to_owned(), spill_size);
    (dir, body)
}

fn whole(body: &mut Body) -> Vec<u8> {
    let FinishedBody {
        opener,
        rest,
        spill,
        is_verified: _,
    } = body.finish().unwrap();
    let mut bytes = body.memory[opener.unwrap_or(0..0)].to_vec();
    bytes.extend_from_slice(&body.memory[rest]);
    if let Some(spill) = spill {
        let mut rest = vec![0; spill.len() as usize];
        spill.read_exact_at(&mut rest, 0).unwrap();
        bytes.extend(rest);
    }
    bytes
}

/// The same calls give the same bytes in memory and in a file.
#[test]
fn memory_and_spill_file_hold_the_same_bytes() {
    for spill_size in [30, 60, 1000, 400_000, usize::MAX] {
        let (_dir, mut body) = body(spill_size);
        body.append(&[1; 20]).unwrap();
        body.end_opener();
        let mut model = vec![1; 20];
        for (byte, count) in [(2, 100), (3, 300_000), (4, 7), (5, 300_000), (6, 50)] {
            let at = body.len();
            assert_eq!(at, model.len() as u64);
            let event = vec![byte; count];
            body.append(&event).unwrap();
            model.extend(&event);
            if count > 27 {
                body.end_statement_at(at).unwrap();
                rows::set_statement_end(&mut model[at as usize..]).unwrap();
            }
            if byte == 4 {
                body.truncate(at).unwrap();
                model.truncate(at as usize);
            }
        }
        assert_eq!(whole(&mut body), model, "spill size {spill_size}");
    }
}

/// The events that are taken out read as they were appended, in memory and in a file.
#[test]
fn rest_taken_out_is_unchanged_when_put_back() {
    for spill_size in [30, 1000] {
        let (_dir, mut body) = body(spill_size);
        body.append(&[1; 20]).unwrap();
        body.end_opener();
        body.finish().unwrap();
        body.append(&[2; 20]).unwrap();
        body.end_opener();
        body.append(&[3; 40]).unwrap();
        body.append(&[4; 40]).unwrap();
        let taken = body.take_rest().unwrap();
        assert_eq!((body.len(), taken.len()), (20, 80));
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut taken.read_from(39, 42), &mut read).unwrap();
        assert_eq!(read, [3, 4, 4]);
        body.put_back(taken);
        body.append(&[5; 1]).unwrap();
        let expected = [&[2; 20][..], &[3; 40], &[4; 40], &[5]].concat();
        assert_eq!(whole(&mut body), expected, "spill size {spill_size}");
    }
}

#[test]
fn transaction_without_opener_is_spilled_too() {
    let (dir, mut body) = body(10);
    body.begin_without_opener();
    body.append(&[2; 20]).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(whole(&mut body), [2; 20]);
}

#[test]
fn abandoned_transaction_removes_its_spill_file() {
    let (dir, mut body) = body(10);
    body.append(&[1; 20]).unwrap();
    body.end_opener();
    body.append(&[2; 20]).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    body.abandon();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(body.len(), 0);
}

#[test]
fn open_transaction_stays_when_finished_ones_are_taken() {
    let (_dir, mut body) = body(1000);
    body.append(&[1; 20]).unwrap();
    body.end_opener();
    body.finish().unwrap();
    body.append(&[2; 5]).unwrap();
    body.end_opener();
    assert_eq!(body.take_finished(Vec::new()), [1; 20]);
    assert_eq!(body.len(), 5);
    assert_eq!(whole(&mut body), [2; 5]);
}

/// An offset that is not in the open transaction is an internal error, and changes nothing.
#[test]
fn offset_outside_the_open_transaction_is_an_internal_error() {
    for spill_size in [30, 1000] {
        let (_dir, mut body) = body(spill_size);
        body.append(&[1; 20]).unwrap();
        body.end_opener();
        body.finish().unwrap();
        body.append(&[2; 20]).unwrap();
        body.end_opener();
        body.append(&[3; 40]).unwrap();
        for offset in [0, 19, 61, 1 << 40] {
            let truncated = body.truncate(offset);
            assert!(matches!(truncated, Err(BodyError::Internal(_))), "{offset}");
        }
        for offset in [0, 19, 35, 60, 61] {
            let ended = body.end_statement_at(offset);
            assert!(matches!(ended, Err(BodyError::Internal(_))), "{offset}");
        }
        let replaced = body.replace_opener(&[9; 20]);
        assert!(matches!(replaced, Err(BodyError::Internal(_))));
        let expected = [&[2; 20][..], &[3; 40]].concat();
        assert_eq!(whole(&mut body), expected, "spill size {spill_size}");
    }
}

#[test]
fn transaction_that_ends_inside_its_opener_is_an_internal_error() {
    let (_dir, mut body) = body(1000);
    body.append(&[1; 20]).unwrap();
    assert!(matches!(body.finish(), Err(BodyError::Internal(_))));
}
