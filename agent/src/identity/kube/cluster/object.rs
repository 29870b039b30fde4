//! What objects of all kinds have in common.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::identity::cluster::{self, Address};

/// A slim `ObjectMeta`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) uid: Option<String>,
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) creation_timestamp: Option<Timestamp>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) labels: Option<Labels>,
    pub(super) owner_references: Option<Vec<OwnerReference>>,
}

/// The labels that say what an object belongs to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Labels {
    #[serde(rename = "pod-template-hash")]
    pub(super) template_hash: Option<String>,
    #[serde(rename = "kubernetes.io/service-name")]
    pub(super) service: Option<String>,
}

/// Addresses, each once; whatever is none (`None`, a host name) is left out.
#[derive(Debug, Default)]
pub(super) struct Addresses(cluster::Addresses);

impl Addresses {
    /// Adds an address for one port, or for all.
    pub(super) fn add(&mut self, ip: &str, port: Option<u16>) {
        if self.0.is_full() {
            return;
        }
        if let Ok(ip) = ip.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            self.0.add(Address { ip, port });
        }
    }

    /// Adds addresses for all ports.
    pub(super) fn add_all<'a>(&mut self, ips: impl IntoIterator<Item = &'a String>) {
        for ip in ips {
            self.add(ip, None);
        }
    }

    /// Adds a port at every node's addresses.
    pub(super) fn add_at_nodes(&mut self, port: u16) {
        self.0.add(Address::at_nodes(port));
    }

    pub(super) fn into_vec(self) -> Vec<Address> {
        self.0.into_vec()
    }
}
