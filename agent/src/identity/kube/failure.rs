//! What the failure of a watch means, and how to put it.

use kube::runtime::watcher;

use super::client::LineTooLong;
use crate::causes::causes;

/// Servers before 1.27 answer 422 to `resourceVersionMatch`, later ones without the feature 422 to `sendInitialEvents`.
pub(super) fn refuses_streaming(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}

/// The watcher lists anew when the server says so within a watch, but would resume forever where it is the answer.
pub(super) fn has_expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

/// The server does not have that API group or version.
pub(super) fn is_not_served(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404
    )
}

/// The answer has a line that is longer than one may be.
pub(super) fn is_too_long(error: &watcher::Error) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<LineTooLong>)
}

/// kube's own texts show the whole answer where there is one, and not the cause where there is none.
pub(super) fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        other => with_root_cause(other),
    }
}

fn with_root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let root = causes(error).last();
    match root.map(ToString::to_string) {
        Some(root) if !text.contains(&root) => format!("{text}: {root}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect")]
    struct Connect(#[source] std::io::Error);

    #[test]
    fn failures_name_their_root_cause() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let nested = std::io::Error::other(kube::Error::Service(Box::new(refused())));
        let error =
            kube::runtime::watcher::Error::WatchStartFailed(kube::Error::Service(Box::new(nested)));
        let text = describe(&error);
        assert_eq!(text.matches("connection refused").count(), 1, "{text}");

        let error = kube::Error::Service(Box::new(Connect(refused())));
        let text = describe(&kube::runtime::watcher::Error::WatchStartFailed(error));
        assert!(
            text.ends_with("cannot connect: connection refused"),
            "{text}"
        );
    }
}
