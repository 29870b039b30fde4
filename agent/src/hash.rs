//! Maps and sets for what is looked up with every record. A leaf.
//!
//! Their hash is several times as fast as the standard library's and seeded for each process. Many keys are what the kernel numbers; others,
//! such as far ends' addresses, are somebody else's choice, who does not learn where they end up: no table tells its order, and all are bounded.

use foldhash::fast::RandomState;

/// A map.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A set.
pub(crate) type HashSet<T> = std::collections::HashSet<T, RandomState>;
