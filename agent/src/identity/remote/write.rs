//! Objects → batches.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use super::protocol::{Batch, Kind, Object, WorkloadName};
use super::uid;
use crate::identity::cluster::{Address, MOST_READ, ObjectKind};
use crate::identity::workload::Workload;

/// What is told of an object.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What it is.
    pub kind: ObjectKind,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// What it is called.
    pub name: &'a Arc<Workload>,
    /// Its addresses.
    pub addresses: &'a [Address],
    /// Since when it is there, seconds since the Unix epoch; 0 if that is not known.
    pub since: i64,
    /// Whether it has ended.
    pub finished: bool,
}

/// A batch being written. Names are in it once, however many objects have them.
#[derive(Debug, Default)]
pub struct BatchWriter {
    batch: Batch,
    workloads: HashMap<Arc<Workload>, u32>,
    bytes: usize,
}

impl BatchWriter {
    /// Adds an object that is there.
    pub fn applied(&mut self, told: &Told<'_>) {
        let mut object = object(told.kind, told.uid);
        object.workload = self.workload(told.name);
        let addresses = told.addresses.iter().take(MOST_READ);
        object.addresses = addresses.map(address).collect();
        object.since = told.since;
        object.finished = told.finished;
        self.push(object);
    }

    /// Adds that an object is gone.
    pub fn gone(&mut self, kind: ObjectKind, uid: &str) {
        let mut object = object(kind, uid);
        object.gone = true;
        self.push(object);
    }

    /// About how many bytes it has become.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batch, which begins anew; `None` if there is nothing in it.
    pub fn take(&mut self) -> Option<Batch> {
        if self.batch.objects.is_empty() {
            return None;
        }
        self.workloads.clear();
        self.bytes = 0;
        Some(mem::take(&mut self.batch))
    }

    fn push(&mut self, object: Object) {
        let addresses: usize = object.addresses.iter().map(|bytes| bytes.len() + 2).sum();
        self.bytes += 40 + object.uid.len() + addresses;
        self.batch.objects.push(object);
    }

    fn workload(&mut self, workload: &Arc<Workload>) -> u32 {
        if let Some(index) = self.workloads.get(workload) {
            return *index;
        }
        let Workload {
            namespace,
            name,
            kind,
        } = &**workload;
        self.bytes += namespace.len() + name.len() + kind.len() + 10;
        let index = u32::try_from(self.workloads.len()).unwrap_or(u32::MAX);
        self.workloads.insert(Arc::clone(workload), index);
        self.batch.workloads.push(WorkloadName {
            namespace: namespace.as_ref().to_owned(),
            name: name.as_ref().to_owned(),
            kind: kind.as_ref().to_owned(),
        });
        index
    }
}

fn object(kind: ObjectKind, uid: &str) -> Object {
    let kind = match kind {
        ObjectKind::Pod => Kind::Pod,
        ObjectKind::Service => Kind::Service,
        ObjectKind::Endpoints => Kind::Endpoints,
        ObjectKind::Node => Kind::Node,
    };
    let mut object = Object {
        kind: kind.into(),
        ..Object::default()
    };
    match uid::parse(uid) {
        Some(bytes) => object.uuid = bytes.to_vec(),
        None => uid.clone_into(&mut object.uid),
    }
    object
}

fn address(address: &Address) -> Vec<u8> {
    let mut bytes = match address.ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port.into_iter().flat_map(u16::to_be_bytes));
    bytes
}
