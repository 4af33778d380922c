//! Annotations of rows for clients that do not know them.

use super::fixture::*;
use crate::flavor::Flavor;

/// A replica that adds up the lengths of events, as MySQL's do, keeps the right position.
#[tokio::test]
async fn large_annotations_are_replaced_by_events_of_their_length() {
    let mut log = TestLog::empty(Flavor::MariaDb, 8 << 20);
    let lens = [700 << 10, 100 << 10, 300 << 10, 100 << 10, 90 << 10, 20];
    for (number, len) in (1..).zip(lens) {
        log.mariadb(&format!("0-1-{number}"), Some(&vec![b'x'; len]));
    }
    let sender = TestSender::of(&log).await;
    let mut old = sender.replica().await;
    old.execute("SET @mariadb_slave_capability=NULL")
        .await
        .unwrap();
    old.write_command(&by_position("", 4, 1, 11)).await.unwrap();
    let (mut position, mut replaced) = (4, 0);
    loop {
        let (header, event) = match next(&mut old).await {
            Item::Event(header, event) => (header, event),
            Item::Eof => break,
            Item::Error(error) => panic!("{error:?}"),
        };
        if header.is_artificial() || header.log_pos == 0 {
            continue;
        }
        position += event.len() as u32;
        assert_eq!(position, header.log_pos, "{}", header.event_type.name());
        replaced += usize::from(event.len() > 90 << 10);
    }
    assert_eq!(u64::from(position), log.log().published().offset);
    assert_eq!(replaced, 5);
}
