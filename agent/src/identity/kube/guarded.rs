//! An object whose content may not be what it should be: it must not keep others from being read.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object read as a `Content`, or why it could not be.
///
/// kube's own guard keeps the whole object as a tree meanwhile, managed fields and all; this one keeps its text.
#[derive(Clone, Debug)]
pub(super) struct Guarded<Content> {
    /// No more of it than the watch needs.
    metadata: ObjectMeta,
    pub(super) content: Result<Content, String>,
}

#[derive(Deserialize)]
struct Envelope {
    metadata: Identifying,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identifying {
    uid: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

impl<Content> Guarded<Content> {
    /// `metadata.uid`.
    pub(super) fn uid(&self) -> Option<Arc<str>> {
        self.metadata.uid.as_deref().map(Into::into)
    }

    /// `namespace/name`, for the log.
    pub(super) fn shown(&self) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        match &self.metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }
}

impl<'de, Content: DeserializeOwned> Deserialize<'de> for Guarded<Content> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Envelope { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self {
            content: serde_json::from_str(text.get()).map_err(|error| error.to_string()),
            metadata: ObjectMeta {
                uid: metadata.uid,
                name: metadata.name,
                namespace: metadata.namespace,
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
        })
    }
}

/// What resource it is of is known to the watch alone.
impl<Content> Resource for Guarded<Content> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
