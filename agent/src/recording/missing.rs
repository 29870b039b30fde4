//! Connections whose sockets the kernel does not have.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::kernel::LiveTcp;

/// What came of one count of the kernel's sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Connections that the kernel's table has and that it did not come upon, by their sockets.
    pub sockets: Vec<u64>,
    /// Network namespaces that were counted.
    pub namespaces: BTreeSet<u32>,
    /// Whether these are all that any process is in.
    pub is_complete: bool,
}

impl Missing {
    /// Nobody, if nobody knows who.
    pub fn among(counted: Option<&LiveTcp>) -> Self {
        let missing = counted.and_then(|counted| Some((counted, counted.missing.as_ref()?)));
        let Some((counted, sockets)) = missing.filter(|(_, sockets)| !sockets.is_empty()) else {
            return Self::default();
        };
        let counts = counted.namespaces.iter();
        Self {
            sockets: sockets.clone(),
            namespaces: counts
                .filter(|(_, counts)| counts.is_ok())
                // Programs see the number as it is in the kernel, where it has 32 bits.
                .filter_map(|(netns, _)| u32::try_from(*netns).ok())
                .collect(),
            is_complete: counted.is_complete(),
        }
    }
}
