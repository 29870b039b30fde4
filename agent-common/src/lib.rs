//! What crosses the boundary between Wellhead's kernel programs and its daemon: record layouts, map keys, limits,
//! and the kernel structure fields the programs read.
//!
//! Both sides compile this crate, so a layout or a name cannot differ between them. Shared structures have no padding;
//! sizes are asserted where they are defined.
#![no_std]

pub mod classic;
pub mod counts;
pub mod fields;
pub mod limits;
pub mod maps;
pub mod record;

/// Sixteen bytes, an address or a name, which programs copy as two words: of an array of bytes the compiler makes sixteen loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Sixteen([u64; 2]);

impl Sixteen {
    /// These words, in the machine's byte order.
    pub const fn of_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// These bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// The bytes.
    pub const fn bytes(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.0[0].to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.0[1].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}
