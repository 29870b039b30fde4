//! What a watch wants to know of the objects it watches.

use std::fmt::Debug;
use std::sync::Arc;

use kube::core::ApiResource;
use kube::runtime::watcher::Config;
use serde::de::DeserializeOwned;

/// From what the API server sends to what somebody wants to be told.
pub trait Translate: Send {
    /// The part of an object that is read; nothing else is ever kept.
    type Content: Clone + Debug + DeserializeOwned + Send + Sync + 'static;
    /// What is kept of an object.
    type Item: Send;
    /// What is told.
    type Update: Send + 'static;

    /// The objects' name, for the log: `pods`.
    const OBJECTS: &'static str;

    /// The resources that hold such objects, best first; the first one the server has is watched. Never empty.
    fn resources(&self) -> Vec<ApiResource>;

    /// Which of the objects are wanted, and how they are listed.
    fn selection(&self) -> Config;

    /// `None` for an object without UID or name, which no server sends.
    fn read(&mut self, content: Self::Content) -> Option<Self::Item>;

    /// The object's `metadata.uid`.
    fn uid(item: &Self::Item) -> &Arc<str>;

    /// Whether an object is worth telling of; one that was told of is told of anyway when it changes.
    fn matters(_item: &Self::Item) -> bool {
        true
    }

    /// An object is new or has changed.
    fn applied(&self, item: Self::Item) -> Self::Update;

    /// An object is gone.
    fn deleted(&self, uid: Arc<str>) -> Self::Update;

    /// These are all there are.
    fn restarted(&self, items: Vec<Self::Item>) -> Self::Update;
}
