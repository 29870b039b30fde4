//! Whether there is a cluster to talk to, and the client for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::Client;
use kube::config::{Config, InferConfigError};
use thiserror::Error;

/// Where a pod's service account is mounted.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

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
}

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
    let client = Client::try_from(config).map_err(|error| KubeError::Client(Box::new(error)))?;
    Ok(Some(client))
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

    use super::{TOKEN, has_credentials};

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
        let home = ("HOME", "/root");
        check(&[], &[], false);
        check(&[home], &[], false);
        check(&[host], &[], false);
        check(&[host], &[TOKEN], true);
        check(&[], &[TOKEN], false);
        check(&[home], &["/root/.kube/config"], true);
        check(&[("KUBECONFIG", "/etc/kubeconfig")], &[], true);
        check(&[("KUBECONFIG", "")], &[], false);
    }
}
