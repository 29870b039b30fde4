//! Lists of words, looked up whatever their case.

use std::sync::OnceLock;

use crate::hash::HashSet;

/// No word of a list is longer.
const LONGEST: usize = 24;

/// A list of words in lower case.
pub(super) struct Words {
    /// With white space between them.
    text: &'static str,
    set: OnceLock<HashSet<&'static [u8]>>,
}

impl Words {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            set: OnceLock::new(),
        }
    }

    /// Whether a word is one of them.
    pub(super) fn has(&self, word: &str) -> bool {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..word.len()) else {
            return false;
        };
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        self.set().contains(&*lower)
    }

    fn set(&self) -> &HashSet<&'static [u8]> {
        self.set.get_or_init(|| {
            let words = self.text.split_ascii_whitespace().map(str::as_bytes);
            debug_assert!(words.clone().all(|word| word.len() <= LONGEST));
            words.collect()
        })
    }
}
