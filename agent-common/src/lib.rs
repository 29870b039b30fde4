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

/// Sixteen bytes, an address or a name, that are copied as two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C, align(8))]
pub struct Sixteen(pub [u8; 16]);
