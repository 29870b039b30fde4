//! However many packets come, what is kept is bounded.

use super::*;

#[test]
fn the_oldest_gives_up() {
    let mut watch = Watch::new(2);
    watch.sees(0, &ask(1, "one.example"));
    watch.sees(1, &ask(2, "two.example"));
    watch.sees(2, &ask(3, "three.example"));
    assert_eq!(watch.ends(), [(0, None, LookupEnd::GaveUp)]);
    assert_eq!(watch.lookups.waiting(), 2);
    watch.sees(3, &found(1, "one.example"));
    assert_eq!(watch.ignores(), [Ignored::Unmatched]);
    watch.sees(4, &found(2, "two.example"));
    watch.sees(5, &found(3, "three.example"));
    assert_eq!(watch.ends(), [(1, Some(3), FOUND), (2, Some(3), FOUND)]);
}

#[test]
fn there_is_room_for_one() {
    let mut watch = Watch::new(0);
    watch.sees(0, &ask(1, "one.example"));
    watch.sees(1, &ask(2, "two.example"));
    watch.sees(2, &found(2, "two.example"));
    assert_eq!(
        watch.ends(),
        [(0, None, LookupEnd::GaveUp), (1, Some(1), FOUND)]
    );
}

/// Each answer is compared with all that have its id on its socket, so those are few.
#[test]
fn one_id_on_one_socket_does_not_take_all_room() {
    let mut watch = Watch::new(1_000);
    for number in 0..100 {
        watch.sees(number, &ask(1, &format!("name-{number}.example")));
        assert!(watch.lookups.waiting() <= 8);
    }
    assert_eq!(watch.ended.len(), 92);
    let gave_up = |lookup: &Lookup| lookup.end == LookupEnd::GaveUp;
    assert!(watch.ended.iter().all(gave_up));
    watch.ended.clear();
    watch.sees(101, &found(1, "name-99.example"));
    assert_eq!(watch.ends(), [(99, Some(2), FOUND)]);
}

#[test]
fn nothing_is_left_when_all_is_over() {
    let mut watch = Watch::new(1_000);
    for number in 0..500 {
        let name = format!("name-{number}.example");
        watch.sees(u64::from(number), &ask(number, &name));
        if number % 2 == 0 {
            watch.sees(u64::from(number), &missing(number, &name));
        }
    }
    // The length of a message alone.
    let length = Packet {
        transport: Transport::Tcp,
        ..packet(&[0])
    };
    watch.takes_in(&length);
    assert_eq!(watch.lookups.waiting(), 250);
    watch.waits_until(60_000);
    assert_eq!(watch.ended.len(), 500);
    assert_eq!(watch.lookups.waiting(), 0);
    assert_eq!(watch.lookups.remembered(), [0; 5]);
}
