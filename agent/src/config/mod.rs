//! Configuration: everything is parsed and validated before anything acts on it, and everything that is wrong is
//! reported at once, each problem with where it was set.
//!
//! Flags win over `WELLHEAD_*` variables, those over the OpenTelemetry variables, those over the file, and the
//! file over the defaults. Each layer becomes a tree of texts ([`node`]); the trees are laid over each other, and
//! what results is typed by serde into [`Config`] and then checked as a whole ([`validate`]). Keys, their
//! documentation and their variables all follow from the doc comments and types of [`Config`] ([`catalogue`]).
//!
//! A leaf: this module imports nothing of the crate's others.

pub mod budget;
mod catalogue;
mod changes;
mod environment;
mod error;
mod events;
mod file;
mod keys;
mod kubernetes;
mod load;
mod node;
mod otel;
mod otlp;
mod print;
mod reference;
mod tls;
mod validate;
mod value;
mod yaml;

#[cfg(test)]
#[expect(
    clippy::needless_raw_string_hashes,
    reason = "expect-test writes its strings so"
)]
mod tests;

pub use budget::Sizes;
pub use catalogue::json_schema;
pub use changes::Changes;
pub use error::{ConfigError, Origin, Problem};
pub use events::{EventKind, Events};
pub use keys::{
    Config, ConntrackMode, Features, Log, LogFormat, LogLevel, NamedCidr, PeerAddresses, Peers,
    Process, ProcessArgs, Prometheus, Rings, StatusMode, Traces,
};
pub use kubernetes::{Kubernetes, KubernetesMode, Namespaces, Resolver};
pub use load::{Loaded, load};
pub use otlp::{
    Otlp, OtlpCompression, OtlpEndpoint, OtlpHistograms, OtlpMetrics, OtlpProtocol, OtlpSettings,
    OtlpSignal, OtlpSignalTls, OtlpSpill, OtlpTemporality, Signal,
};
pub use reference::{example_yaml, reference_markdown};
pub use tls::{ClientTls, ServerTls};
pub use value::{
    ByteSize, Cidr, Duration, InvalidValue, ListenAddress, NamePattern, NamespacePattern, Port,
    Rate, Ratio, Secret, Toggle,
};
