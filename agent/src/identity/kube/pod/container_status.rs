//! The status of a container as the watch reads it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::identity::container_status::{self, ContainerStatus};

/// The longest reason that is kept, bytes: kubelet's are single words.
const LONGEST_REASON: usize = 128;

/// The longest reference to an image that is kept, bytes.
const LONGEST_IMAGE: usize = 512;

/// A slim `v1.ContainerStatus`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimContainerStatus {
    pub(super) name: String,
    #[serde(rename = "containerID", default)]
    container_id: Option<String>,
    #[serde(rename = "imageID", default)]
    image_id: Option<String>,
    #[serde(default)]
    restart_count: Option<i64>,
    #[serde(default)]
    state: Option<State>,
    #[serde(default)]
    last_state: Option<LastState>,
}

#[derive(Clone, Debug, Deserialize)]
struct State {
    #[serde(default)]
    waiting: Option<Waiting>,
    #[serde(default)]
    running: Option<Running>,
}

#[derive(Clone, Debug, Deserialize)]
struct Waiting {
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    #[serde(default)]
    started_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
struct LastState {
    #[serde(default)]
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    #[serde(rename = "containerID", default)]
    container_id: Option<String>,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    finished_at: Option<Timestamp>,
}

impl SlimContainerStatus {
    /// Ids without their scheme. That of the run before comes first: a crashed container is often met before its successor is
    /// reported.
    pub(super) fn container_ids(&self) -> Vec<Arc<str>> {
        let before = self
            .terminated()
            .and_then(|run| run.container_id.as_deref());
        let all = before.into_iter().chain(self.container_id.as_deref());
        // `containerd://<id>`; empty until the container was started once.
        let ids = all.map(without_scheme);
        ids.filter(|id| !id.is_empty()).map(Into::into).collect()
    }

    /// `<image>@<algorithm>:<digest>`. A runtime that has the image from elsewhere says what identifies it there instead.
    pub(super) fn image_digest(&self) -> Option<Arc<str>> {
        // What it says before a container was started is of the one to come.
        self.container_id.as_deref().filter(|id| !id.is_empty())?;
        // `docker-pullable://` of old.
        let image = without_scheme(self.image_id.as_deref()?);
        let (name, digest) = image.split_once('@')?;
        let is_digest = !name.is_empty() && digest.contains(':') && image.len() <= LONGEST_IMAGE;
        is_digest.then(|| image.into())
    }

    /// How its runs go.
    pub(super) fn of_runs(&self) -> ContainerStatus {
        let state = self.state.as_ref();
        let waiting = state.and_then(|state| state.waiting.as_ref());
        let running = state.and_then(|state| state.running.as_ref());
        ContainerStatus {
            restart_count: self
                .restart_count
                .and_then(|count| u32::try_from(count).ok()),
            waiting: waiting.and_then(|waiting| reason(waiting.reason.as_deref())),
            running_since: running.and_then(|running| running.started_at),
            last_end: self.terminated().map(|run| {
                Box::new(container_status::Terminated {
                    exit_code: run.exit_code.unwrap_or_default(),
                    signal: run.signal.filter(|signal| *signal != 0),
                    reason: reason(run.reason.as_deref()),
                    started_at: run.started_at,
                    finished_at: run.finished_at,
                })
            }),
        }
    }

    fn terminated(&self) -> Option<&Terminated> {
        self.last_state.as_ref()?.terminated.as_ref()
    }
}

fn reason(text: Option<&str>) -> Option<Arc<str>> {
    text.filter(|text| text.len() <= LONGEST_REASON)
        .map(Into::into)
}

fn without_scheme(text: &str) -> &str {
    text.rsplit_once("://").map_or(text, |(_, rest)| rest)
}
