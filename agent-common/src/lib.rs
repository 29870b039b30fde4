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
        // SAFETY: as many bytes, and any are valid integers.
        Self(unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(bytes) })
    }

    /// The bytes.
    pub const fn bytes(self) -> [u8; 16] {
        // SAFETY: as above, the other way round.
        unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(self.0) }
    }
}
