//! Places of connections.

use super::*;

const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 4,
    per_address: 3,
    reserved: 2,
};

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn is_evicted(eviction: &mut Eviction) -> bool {
    eviction.0.try_recv().is_ok()
}

#[test]
fn oldest_silent_connection_of_an_address_makes_way() {
    let admission = Admission::new(LIMITS);
    let mut held: Vec<_> = (0..3).map(|_| admission.admit(address(1))).collect();
    let (mut other, _eviction) = admission.admit(address(2));
    let mut newest = admission.admit(address(1));
    let evicted: Vec<bool> = held
        .iter_mut()
        .map(|(_, eviction)| is_evicted(eviction))
        .collect();
    assert_eq!(evicted, [true, false, false]);
    assert!(!is_evicted(&mut newest.1));
    // An evicted place cannot be used any more, and gives nothing back.
    assert_eq!(held[0].0.log_in(true).unwrap_err().code, 1040);
    drop(held);
    drop(newest);
    other.log_in(true).unwrap();
    let state = admission.state();
    assert_eq!((state.waiting.len(), state.logged_in), (0, 1));
    assert_eq!(state.addresses, HashMap::from([(address(2), 1)]));
}

#[test]
fn clients_that_have_logged_in_stay() {
    let admission = Admission::new(LIMITS);
    let mut held = Vec::new();
    for _ in 0..3 {
        let (mut place, mut eviction) = admission.admit(address(1));
        place.log_in(false).unwrap();
        assert!(!is_evicted(&mut eviction));
        held.push((place, eviction));
    }
    let (mut place, mut eviction) = admission.admit(address(1));
    assert!(!is_evicted(&mut eviction));
    let refused = place.log_in(false).unwrap_err();
    let text = "Too many connections from this address";
    assert_eq!((refused.code, refused.message.as_str()), (1040, text));
    place.log_in(true).unwrap();
    held.pop();
    drop(place);
    let (mut place, _eviction) = admission.admit(address(1));
    place.log_in(false).unwrap();
}

#[test]
fn flood_of_many_addresses_takes_the_places_of_its_oldest() {
    let admission = Admission::new(LIMITS);
    let mut flood: Vec<_> = (0..200)
        .map(|last| admission.admit(address(last)))
        .collect();
    let evicted = flood
        .iter_mut()
        .filter_map(|(_, eviction)| is_evicted(eviction).then_some(()))
        .count();
    assert_eq!(evicted, 196);
    let (mut place, _eviction) = admission.admit(address(201));
    place.log_in(true).unwrap();
}

#[test]
fn places_are_reserved_for_privileged_accounts() {
    let admission = Admission::new(LIMITS);
    let mut held = Vec::new();
    let mut log_in = |last: u8, is_privileged: bool| {
        let (mut place, eviction) = admission.admit(address(last));
        let outcome = place.log_in(is_privileged);
        held.push((place, eviction));
        outcome.map_err(|error| error.code)
    };
    for last in 0..4 {
        log_in(last, false).unwrap();
    }
    assert_eq!(log_in(4, false), Err(1040));
    log_in(5, true).unwrap();
    log_in(6, true).unwrap();
    assert_eq!(log_in(7, true), Err(1040));
    held.remove(0);
    assert_eq!(admission.state().logged_in, 5);
}

#[tokio::test]
async fn eviction_is_noticed_before_the_login_only() {
    let admission = Admission::new(ConnectionLimits {
        per_address: 1,
        ..LIMITS
    });
    let (first, eviction) = admission.admit(address(1));
    let (mut second, other) = admission.admit(address(1));
    eviction.happened().await;
    drop(first);
    second.log_in(true).unwrap();
    let late = tokio::time::timeout(std::time::Duration::from_millis(20), other.happened());
    assert!(late.await.is_err());
}

#[test]
fn changed_limits_are_those_of_the_next_login() {
    let admission = Admission::new(LIMITS);
    let mut places: Vec<_> = (0..3)
        .map(|last| admission.admit(address(last)).0)
        .collect();
    let mut log_in = |number: usize| places[number].log_in(false).is_ok();
    assert!(log_in(0) && log_in(1));
    admission.set_limits(ConnectionLimits { total: 2, ..LIMITS });
    assert!(!log_in(2));
    admission.set_limits(LIMITS);
    assert!(log_in(2));
}
