//! Batches → objects. Nothing in a batch is trusted: what makes no sense is left out and counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::Timestamp;

use super::protocol::{Batch, Kind, Object, WorkloadName};
use super::uid;
use crate::identity::cluster::{Address, Addresses, ClusterObject, ObjectKind};

use crate::identity::workload::Workload;
use crate::identity::workloads::Workloads;

/// Bytes a name or UID may have; Kubernetes' own limit for names is 253.
const LONGEST_TEXT: usize = 512;

/// One thing told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An object is there.
    Applied(Box<ClusterObject>),
    /// An object is gone.
    Gone {
        /// What it was.
        kind: ObjectKind,
        /// Its `metadata.uid`.
        uid: Arc<str>,
    },
}

/// Reads batches, one after the other.
#[derive(Debug, Default)]
pub struct BatchReader {
    workloads: Workloads,
    skipped: u64,
}

impl BatchReader {
    /// What a batch tells, in its order.
    pub fn read(&mut self, batch: Batch) -> Vec<Change> {
        let Batch { workloads, objects } = batch;
        let workloads: Vec<_> = workloads
            .into_iter()
            .map(|name| self.workload(name))
            .collect();
        let mut changes = Vec::with_capacity(objects.len());
        for object in objects {
            match change(object, &workloads) {
                Some(change) => changes.push(change),
                None => self.skipped += 1,
            }
        }
        changes
    }

    /// Objects left out so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn workload(&mut self, name: WorkloadName) -> Option<Arc<Workload>> {
        let WorkloadName {
            namespace,
            name,
            kind,
        } = name;
        let fits = [&namespace, &name, &kind]
            .iter()
            .all(|text| text.len() <= LONGEST_TEXT);
        fits.then(|| {
            self.workloads.intern(Workload {
                namespace: namespace.into(),
                name: name.into(),
                kind: kind.into(),
            })
        })
    }
}

fn change(object: Object, workloads: &[Option<Arc<Workload>>]) -> Option<Change> {
    let kind = match Kind::try_from(object.kind).ok()? {
        Kind::Unknown => return None,
        Kind::Pod => ObjectKind::Pod,
        Kind::Service => ObjectKind::Service,
        Kind::Endpoints => ObjectKind::Endpoints,
        Kind::Node => ObjectKind::Node,
    };
    let uid: Arc<str> = match <[u8; 16]>::try_from(object.uuid) {
        Ok(bytes) => uid::text(bytes).into(),
        Err(_) if (1..=LONGEST_TEXT).contains(&object.uid.len()) => object.uid.into(),
        Err(_) => return None,
    };
    if object.gone {
        return Some(Change::Gone { kind, uid });
    }
    let workload = workloads.get(usize::try_from(object.workload).ok()?)?;
    let mut addresses = Addresses::default();
    for address in object.addresses.iter().filter_map(|bytes| address(bytes)) {
        addresses.add(address);
    }
    Some(Change::Applied(Box::new(ClusterObject {
        kind,
        uid,
        name: Arc::clone(workload.as_ref()?),
        addresses: addresses.into_vec(),
        since: match object.since {
            0 => None,
            seconds => Timestamp::from_second(seconds).ok(),
        },
        finished: object.finished,
    })))
}

fn address(bytes: &[u8]) -> Option<Address> {
    let (ip, port): (IpAddr, &[u8]) = if bytes.len() < 16 {
        let (ip, port) = bytes.split_first_chunk::<4>()?;
        (Ipv4Addr::from(*ip).into(), port)
    } else {
        let (ip, port) = bytes.split_first_chunk::<16>()?;
        (Ipv6Addr::from(*ip).into(), port)
    };
    let port = match port {
        [] => None,
        [high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => return None,
    };
    Some(Address {
        ip: ip.to_canonical(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::identity::remote::{BatchWriter, Told};

    fn object(kind: ObjectKind, uid: &str, addresses: Vec<Address>, since: i64) -> ClusterObject {
        ClusterObject {
            kind,
            uid: uid.into(),
            name: Arc::new(Workload {
                namespace: "shop".into(),
                name: "web".into(),
                kind: "Deployment".into(),
            }),
            addresses,
            since: (since != 0).then(|| Timestamp::from_second(since).unwrap()),
            finished: since % 2 == 1,
        }
    }

    fn written(objects: &[ClusterObject]) -> BatchWriter {
        let mut writer = BatchWriter::default();
        for object in objects {
            writer.applied(&Told {
                kind: object.kind,
                uid: &object.uid,
                name: &object.name,
                addresses: &object.addresses,
                since: object.since.map_or(0, Timestamp::as_second),
                finished: object.finished,
            });
        }
        writer
    }

    #[test]
    fn what_was_written_is_read() {
        let addresses = |port| -> Vec<Address> {
            let ips: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
            ips.map(|ip| Address { ip, port }).to_vec()
        };
        let objects = [
            object(
                ObjectKind::Pod,
                "0b8e1d2c-3f4a-4b5c-8d6e-7f8091a2b3c4",
                addresses(None),
                1_700_000_001,
            ),
            object(ObjectKind::Service, "s", addresses(Some(65_535)), 0),
            object(ObjectKind::Endpoints, "e", Vec::new(), 2),
            object(ObjectKind::Node, "n", addresses(None), -3),
        ];
        let mut writer = written(&objects);
        writer.gone(ObjectKind::Node, "n");
        let estimate = writer.bytes();
        let batch = writer.take().unwrap();
        assert_eq!(batch.workloads.len(), 1);
        assert!(batch.encoded_len() <= estimate);
        let mut reader = BatchReader::default();
        let mut expected: Vec<_> = objects
            .iter()
            .map(|object| Change::Applied(Box::new(object.clone())))
            .collect();
        expected.push(Change::Gone {
            kind: ObjectKind::Node,
            uid: "n".into(),
        });
        assert_eq!(reader.read(batch), expected);
        assert_eq!((reader.skipped(), writer.take()), (0, None));
    }

    #[test]
    fn nonsense_is_left_out_and_the_rest_is_not() {
        let fine = || {
            let mut writer = written(&[object(ObjectKind::Pod, "u", Vec::new(), 0)]);
            writer.take().unwrap()
        };
        let check = |spoil: &dyn Fn(&mut Batch)| {
            let mut batch = fine();
            spoil(&mut batch);
            let good = batch.objects.len();
            batch.objects.extend(fine().objects);
            batch.objects[good].workload = 0;
            let mut reader = BatchReader::default();
            let left = reader.read(batch).len();
            (left, reader.skipped())
        };
        assert_eq!(check(&|_| {}), (2, 0));
        assert_eq!(check(&|batch| batch.objects[0].kind = 0), (1, 1));
        assert_eq!(check(&|batch| batch.objects[0].kind = 77), (1, 1));
        assert_eq!(check(&|batch| batch.objects[0].workload = 1), (1, 1));
        assert_eq!(check(&|batch| batch.objects[0].workload = u32::MAX), (1, 1));
        assert_eq!(check(&|batch| batch.objects[0].uid.clear()), (1, 1));
        assert_eq!(
            check(&|batch| batch.objects[0].uid = "u".repeat(600)),
            (1, 1)
        );
        assert_eq!(
            check(&|batch| batch.workloads[0].name = "n".repeat(600)),
            (0, 2)
        );
        assert_eq!(check(&|batch| batch.objects[0].since = i64::MAX), (2, 0));

        for length in 0..40 {
            let read = address(&vec![1; length]);
            assert_eq!(read.is_some(), [4, 6, 16, 18].contains(&length), "{length}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(batch) = Batch::decode(bytes.as_slice()) {
                let objects = batch.objects.len();
                let mut reader = BatchReader::default();
                let read = reader.read(batch).len();
                prop_assert_eq!(u64::try_from(objects - read).unwrap(), reader.skipped());
            }
        }
    }
}
