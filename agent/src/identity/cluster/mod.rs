//! Who is at the far end of a connection: everything in the cluster that has an address.

mod addresses;
mod claims;
mod object;
mod seen;
mod table;

pub use self::addresses::{Addresses, MOST_READ};
pub use self::object::{Address, ClusterObject, ClusterUpdate, ObjectKind};
pub use self::table::{ClusterTable, Holder, Moment, Source};
