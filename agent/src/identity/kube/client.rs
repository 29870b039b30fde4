//! Whether there is a cluster to talk to, and the client for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use kube::Client;
use kube::client::{ClientBuilder, DynBody};
use kube::config::{Config, InferConfigError};
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tower_http::map_response_body::MapResponseBodyLayer;

/// Where a pod's service account is mounted.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long credentials may take: a kubeconfig can name a program that makes them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer without a line's end. A list of pods is one line, each event of a watch another; the client library
/// collects a line however long it is.
pub(super) const LONGEST_LINE: usize = 32 << 20;

/// `kubernetes.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubernetesMode {
    /// If credentials are found.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Being without credentials is an error.
    Required,
}

/// Why there is no client. An API server out of reach is no error: the watch keeps trying.
#[derive(Debug, Error)]
pub enum KubeError {
    /// Required, but neither in-cluster credentials nor a kubeconfig was found.
    #[error("neither in-cluster credentials nor a kubeconfig was found")]
    NoCredentials,
    /// Credentials were found, but cannot be used. With [`KubernetesMode::Auto`] the caller may go on without.
    #[error("the Kubernetes credentials cannot be read")]
    Config(#[source] Box<InferConfigError>),
    /// No client could be made of the credentials.
    #[error("the Kubernetes client cannot be built")]
    Client(#[source] Box<kube::Error>),
    /// The program that a kubeconfig names for them does not end.
    #[error("there are no Kubernetes credentials after {}s", PATIENCE.as_secs())]
    Slow,
    /// Making the client failed in an unforeseen way.
    #[error("making the Kubernetes client died")]
    Died(#[source] JoinError),
}

/// What a server sends is no answer to anything.
#[derive(Debug, Error)]
#[error("the API server sends a line of more than {LONGEST_LINE} bytes")]
pub(super) struct LineTooLong;

pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A client for the cluster this node is in. `None` if there is to be none. Sends nothing yet. To be called within a
/// tokio runtime.
pub async fn connect(mode: KubernetesMode) -> Result<Option<Client>, KubeError> {
    let is_found = || has_credentials(|name| std::env::var_os(name), Path::exists);
    match mode {
        KubernetesMode::Off => return Ok(None),
        KubernetesMode::Auto if !is_found() => return Ok(None),
        KubernetesMode::Required if !is_found() => return Err(KubeError::NoCredentials),
        KubernetesMode::Auto | KubernetesMode::Required => {}
    }
    let config = Config::infer()
        .await
        .map_err(|error| KubeError::Config(Box::new(error)))?;
    // Runs the program that a kubeconfig may name, and waits for it.
    let client = timeout(PATIENCE, spawn_blocking(move || client(config))).await;
    let client = client
        .map_err(|_elapsed| KubeError::Slow)?
        .map_err(KubeError::Died)?;
    client
        .map(Some)
        .map_err(|error| KubeError::Client(Box::new(error)))
}

fn client(config: Config) -> kube::Result<Client> {
    let bounded = MapResponseBodyLayer::new(bounded::<Box<DynBody>>);
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&bounded)
        .build())
}

/// The same answer, which fails when a line of it is too long.
pub(super) fn bounded<B>(
    body: B,
) -> StreamBody<impl Stream<Item = Result<Frame<Bytes>, BodyError>> + use<B>>
where
    B: Body<Data = Bytes, Error: Into<BodyError>>,
{
    let mut line = 0;
    StreamBody::new(body.into_data_stream().map(move |chunk| {
        let chunk = chunk.map_err(Into::into)?;
        line = line_length(line, &chunk);
        if line > LONGEST_LINE {
            return Err(BodyError::from(LineTooLong));
        }
        Ok(Frame::data(chunk))
    }))
}

/// Length of the line a text ends with, `before` bytes of which came before.
fn line_length(before: usize, text: &[u8]) -> usize {
    match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => text.len() - end - 1,
        None => before + text.len(),
    }
}

fn has_credentials(env: impl Fn(&str) -> Option<OsString>, exists: impl Fn(&Path) -> bool) -> bool {
    let is_set = |name: &str| env(name).filter(|value| !value.is_empty());
    let in_cluster = is_set("KUBERNETES_SERVICE_HOST").is_some() && exists(Path::new(TOKEN));
    let home_config =
        is_set("HOME").is_some_and(|home| exists(&PathBuf::from(home).join(".kube/config")));
    in_cluster || is_set("KUBECONFIG").is_some() || home_config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{TOKEN, has_credentials, line_length};

    #[test]
    fn lines_are_measured_over_chunks() {
        let chunks: [&[u8]; 4] = [b"abc", b"de", b"f\ngh\ni", b"jk\n"];
        let lengths: Vec<usize> = chunks
            .iter()
            .scan(0, |line, chunk| {
                *line = line_length(*line, chunk);
                Some(*line)
            })
            .collect();
        assert_eq!(lengths, [3, 5, 1, 0]);
    }

    fn check(env: &[(&str, &str)], files: &[&str], expected: bool) {
        let found = has_credentials(
            |name| {
                env.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into())
            },
            |path| files.iter().any(|file| Path::new(file) == path),
        );
        assert_eq!(found, expected, "{env:?} {files:?}");
    }

    #[test]
    fn credentials() {
        let host = ("KUBERNETES_SERVICE_HOST", "10.96.0.1");
        let home = ("HOME", "/home/me");
        check(&[], &[], false);
        check(&[home], &[], false);
        check(&[host], &[], false);
        check(&[host], &[TOKEN], true);
        check(&[], &[TOKEN], false);
        check(&[home], &["/home/me/.kube/config"], true);
        check(&[("KUBECONFIG", "/etc/kubeconfig")], &[], true);
        check(&[("KUBECONFIG", "")], &[], false);
    }
}
