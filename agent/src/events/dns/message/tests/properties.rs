//! Octets that anybody may have sent.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What holds for any octets: no panic, a bounded text of printable ASCII, and no more addresses than there is room for.
fn look_at(bytes: &[u8]) {
    let mut text = String::new();
    if let Ok(message) = Message::parse(bytes, &mut text) {
        assert!(message.answers.clone().count() <= bytes.len() / 15);
        if let Some(question) = message.question {
            let name = question.name;
            assert!(!name.is_empty() && name.len() <= LONGEST_NAME);
            assert!(name.bytes().all(|octet| octet.is_ascii_graphic()));
            assert!(name == "." || name.split('.').all(|label| !label.is_empty()));
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }
}

proptest! {
    #[test]
    fn any_octets(bytes in vec(any::<u8>(), 0..600)) {
        look_at(&bytes);
    }

    /// Octets that look more like a message: small counts, short labels, many pointers.
    #[test]
    fn octets_like_a_message(
        counts in vec(0u8..4, 4),
        tail in vec(prop_oneof![0u8..4, Just(0xc0), 10u8..40, any::<u8>()], 0..500),
    ) {
        let counts = counts.iter().flat_map(|count| [0, *count]);
        let bytes: Vec<u8> = [0, 1, 0x81, 0x80].into_iter().chain(counts).chain(tail).collect();
        look_at(&bytes);
    }

    /// Messages cut off and overwritten anywhere.
    #[test]
    fn damaged_messages(cut in 0usize..120, at in 0usize..120, octet: u8) {
        let draft = Draft {
            edns: Some(1),
            ..Draft::response(1, "www.example.com", A, 0)
                .alias("edge.example.net")
                .address("192.0.2.1", 60)
                .address("2001:db8::1", 5)
        };
        let mut bytes = draft.bytes();
        bytes.truncate(cut);
        if let Some(damaged) = bytes.get_mut(at) {
            *damaged = octet;
        }
        look_at(&bytes);
    }
}
