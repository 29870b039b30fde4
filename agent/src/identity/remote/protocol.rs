//! The messages of `agent/proto/resolver.proto`.
//!
//! Written by hand, so that nobody needs `protoc` to build the agent; a test compares them with that file.

use prost::{Enumeration, Message, Oneof};

/// The version of the protocol spoken here.
pub const PROTOCOL: u32 = 1;

/// The one method.
pub const METHOD: &str = "/wellhead.resolver.v1.Resolver/Watch";

/// Bytes of a batch the server aims at. A message has at most a few times as many.
pub const BATCH_BYTES: usize = 16 << 10;

/// Bytes of a message a client takes.
pub const MAX_RESPONSE: usize = 256 << 10;

/// Bytes of a request a server takes.
pub const MAX_REQUEST: usize = 4 << 10;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WatchRequest {
    /// [`PROTOCOL`].
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// Who asks.
    #[prost(string, tag = "2")]
    pub node_name: String,
    /// What the client knows.
    #[prost(message, optional, tag = "3")]
    pub resume: Option<Position>,
}

/// What was told so far.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Position {
    /// Of which server process.
    #[prost(fixed64, tag = "1")]
    pub epoch: u64,
    /// Up to where.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

/// What a server tells.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WatchResponse {
    /// `None`: something this version does not know.
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6")]
    pub body: Option<Body>,
}

/// What a server tells.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum Body {
    /// Always the first.
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    /// All objects follow.
    #[prost(message, tag = "2")]
    SnapshotBegin(SnapshotBegin),
    /// Some of all objects.
    #[prost(message, tag = "3")]
    Snapshot(Batch),
    /// These were all objects.
    #[prost(message, tag = "4")]
    SnapshotEnd(SnapshotEnd),
    /// What changed.
    #[prost(message, tag = "5")]
    Delta(Delta),
    /// Nothing changed.
    #[prost(message, tag = "6")]
    Heartbeat(Heartbeat),
}

/// The first response.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Welcome {
    /// Version of the protocol the server speaks.
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// Of this server process.
    #[prost(fixed64, tag = "2")]
    pub epoch: u64,
    /// Whether deltas follow, and no snapshot.
    #[prost(bool, tag = "3")]
    pub resumed: bool,
}

/// All objects follow.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SnapshotBegin {
    /// What they bring the client to.
    #[prost(message, optional, tag = "1")]
    pub position: Option<Position>,
    /// How many there are.
    #[prost(uint64, tag = "2")]
    pub objects: u64,
}

/// These were all objects.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SnapshotEnd {}

/// What changed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Delta {
    /// What it brings the client to.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// In the order they happened.
    #[prost(message, optional, tag = "2")]
    pub changes: Option<Batch>,
}

/// Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Heartbeat {
    /// The latest version.
    #[prost(uint64, tag = "1")]
    pub version: u64,
}

/// Objects, and what they are called.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Batch {
    /// Each once.
    #[prost(message, repeated, tag = "1")]
    pub workloads: Vec<WorkloadName>,
    /// Objects that refer to them.
    #[prost(message, repeated, tag = "2")]
    pub objects: Vec<Object>,
}

/// What objects are called; `Workload` in the contract.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkloadName {
    /// Empty for a node.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// As Kubernetes spells it.
    #[prost(string, tag = "3")]
    pub kind: String,
}

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Not told.
    Unknown = 0,
    /// A pod.
    Pod = 1,
    /// A Service.
    Service = 2,
    /// What is behind a Service and no pod.
    Endpoints = 3,
    /// A node.
    Node = 4,
}

/// An object that has addresses, or had.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Object {
    /// A [`Kind`].
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    /// Its UID as 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub uuid: Vec<u8>,
    /// Its UID if it is no UUID.
    #[prost(string, tag = "3")]
    pub uid: String,
    /// Nothing else is told of it.
    #[prost(bool, tag = "4")]
    pub gone: bool,
    /// Index of its name.
    #[prost(uint32, tag = "5")]
    pub workload: u32,
    /// 4, 6, 16 or 18 bytes each.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub addresses: Vec<Vec<u8>>,
    /// Seconds since the Unix epoch, or 0.
    #[prost(int64, tag = "7")]
    pub since: i64,
    /// It has ended.
    #[prost(bool, tag = "8")]
    pub finished: bool,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    const CONTRACT: &str = include_str!("../../../proto/resolver.proto");
    const CODE: &str = include_str!("protocol.rs");

    /// `name type tag` of every field, in order.
    fn contract() -> Vec<String> {
        let lines = CONTRACT.lines().map(str::trim);
        let fields = lines.filter(|line| !line.starts_with("//") && line.contains(" = "));
        let fields = fields.filter(|line| !line.starts_with("syntax"));
        fields
            .map(|line| {
                let (left, tag) = line.trim_end_matches(';').split_once(" = ").unwrap();
                let name = left.rsplit(' ').next().unwrap();
                format!("{} {tag}", name.to_lowercase().replace('_', ""))
            })
            .collect()
    }

    fn code() -> Vec<String> {
        let code = CODE.split("#[cfg(test)]").next().unwrap();
        let mut tag = None;
        let mut fields = Vec::new();
        for line in code.lines().map(str::trim) {
            if let Some(attribute) = line.strip_prefix("#[prost(") {
                tag = attribute
                    .split_once("tag = \"")
                    .map(|(_, rest)| rest.trim_end_matches("\")]"));
            } else if let Some(tag) = tag.take() {
                let name = line
                    .trim_start_matches("pub ")
                    .split([':', '('])
                    .next()
                    .unwrap();
                fields.push(format!("{} {tag}", name.to_lowercase().replace('_', "")));
            } else if let Some((name, number)) = line.trim_end_matches(',').split_once(" = ")
                && number.len() == 1
            {
                fields.push(format!("{} {number}", name.to_lowercase()));
            }
        }
        fields
    }

    #[test]
    fn the_contract_has_the_same_fields() {
        assert_eq!(code(), contract());
        let (service, method) = METHOD.trim_start_matches('/').split_once('/').unwrap();
        let (package, service) = service.rsplit_once('.').unwrap();
        assert!(CONTRACT.contains(&format!("package {package};")));
        assert!(CONTRACT.contains(&format!("service {service} {{")));
        assert!(CONTRACT.contains(&format!(
            "rpc {method}(WatchRequest) returns (stream WatchResponse);"
        )));
    }

    #[test]
    fn messages_come_back_as_they_were() {
        let batch = Batch {
            workloads: vec![WorkloadName {
                namespace: "shop".into(),
                name: "web".into(),
                kind: "Deployment".into(),
            }],
            objects: vec![Object {
                kind: Kind::Endpoints.into(),
                uuid: vec![7; 16],
                uid: "u".into(),
                gone: true,
                workload: 3,
                addresses: vec![vec![10, 0, 0, 1], vec![0; 18]],
                since: -5,
                finished: true,
            }],
        };
        let position = Position {
            epoch: u64::MAX,
            version: 9,
        };
        let bodies = [
            Body::Welcome(Welcome {
                protocol: PROTOCOL,
                epoch: 5,
                resumed: true,
            }),
            Body::SnapshotBegin(SnapshotBegin {
                position: Some(position),
                objects: 7,
            }),
            Body::Snapshot(batch.clone()),
            Body::SnapshotEnd(SnapshotEnd {}),
            Body::Delta(Delta {
                version: 8,
                changes: Some(batch),
            }),
            Body::Heartbeat(Heartbeat { version: 8 }),
        ];
        for body in bodies {
            let message = WatchResponse { body: Some(body) };
            let bytes = message.encode_to_vec();
            assert_eq!(WatchResponse::decode(bytes.as_slice()).unwrap(), message);
        }
        let request = WatchRequest {
            protocol: PROTOCOL,
            node_name: "node-a".into(),
            resume: Some(position),
        };
        // Field by field, as any other implementation has to write it.
        let expected = [
            &[8, 1, 18, 6][..],
            b"node-a",
            &[26, 11, 9],
            &[255; 8],
            &[16, 9],
        ]
        .concat();
        assert_eq!(request.encode_to_vec(), expected);
    }
}
