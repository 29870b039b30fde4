//! The feature `conntrack`: whether translations can be looked up, and if not, why.

use super::{Conntrack, ConntrackError, NamespaceError};
use crate::kernel::{
    Feature, FeatureState, FeatureStatus, ProbeSettings,
    features::{MECHANISM_CTNETLINK, MECHANISM_NONE, NOT_WANTED, WHOLE_IS_OFF},
};

/// Whether translations are to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantConntrack {
    /// No.
    No,
    /// Where it can be done; where not, nothing is missing.
    IfPossible,
    /// Yes; where it cannot be done, something is missing.
    Yes,
}

/// Opens it, if it is wanted and connections are captured. `before` has the features so far.
pub(in crate::kernel) fn open_if_wanted(
    settings: &ProbeSettings,
    before: &[FeatureStatus],
) -> (Option<Conntrack>, FeatureStatus) {
    let want = settings.conntrack;
    let off = |wanted, reason| (None, FeatureStatus::off(Feature::Conntrack, wanted, reason));
    if want == WantConntrack::No || !settings.wants(Feature::Tcp) {
        return off(false, NOT_WANTED);
    }
    let tcp = before.iter().find(|status| status.feature == Feature::Tcp);
    if tcp.is_some_and(|status| !status.is_on()) {
        return off(want == WantConntrack::Yes, WHOLE_IS_OFF);
    }
    let opened = Conntrack::open();
    let status = conntrack_status(want, opened.as_ref().err());
    (opened.ok(), status)
}

/// What there is to say of it, where opening it went well or failed.
pub fn conntrack_status(want: WantConntrack, problem: Option<&ConntrackError>) -> FeatureStatus {
    let (mechanism, state) = match problem {
        None => (MECHANISM_CTNETLINK, FeatureState::On),
        Some(error) if is_forbidden(error) => {
            (MECHANISM_NONE, FeatureState::Unknown(error.to_string()))
        }
        Some(error) => (MECHANISM_NONE, FeatureState::Off(error.to_string())),
    };
    FeatureStatus {
        feature: Feature::Conntrack,
        // Whoever takes it where it can be had has it or does not want it.
        wanted: match want {
            WantConntrack::No => false,
            WantConntrack::IfPossible => problem.is_none(),
            WantConntrack::Yes => true,
        },
        mechanism,
        state,
        programs: Vec::new(),
    }
}

/// Whether nobody can say if the kernel would tell.
fn is_forbidden(error: &ConntrackError) -> bool {
    matches!(
        error,
        ConntrackError::NotPermitted
            | ConntrackError::Namespace(
                NamespaceError::NotPermitted { .. } | NamespaceError::Host(_)
            )
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    type MakeError = fn() -> ConntrackError;

    fn forbidden() -> io::Error {
        io::Error::from_raw_os_error(libc::EACCES)
    }

    #[test]
    fn what_nobody_insists_on_is_not_missed() {
        let check = |want, problem: Option<ConntrackError>, wanted, state: &str| {
            let status = conntrack_status(want, problem.as_ref());
            let said = (status.wanted, status.state.as_str());
            assert_eq!(said, (wanted, state), "{want:?} {problem:?}");
            let mechanism = if problem.is_none() {
                "ctnetlink"
            } else {
                "none"
            };
            assert_eq!(status.mechanism, mechanism);
        };
        check(WantConntrack::Yes, None, true, "on");
        check(WantConntrack::IfPossible, None, true, "on");
        let errors: [(MakeError, &str); 5] = [
            (|| ConntrackError::NotPermitted, "unknown"),
            (|| NamespaceError::Host(forbidden()).into(), "unknown"),
            (
                || NamespaceError::NotPermitted { inode: 1 }.into(),
                "unknown",
            ),
            (|| NamespaceError::Thread(forbidden()).into(), "off"),
            (|| ConntrackError::Absent, "off"),
        ];
        for (error, state) in errors {
            check(WantConntrack::IfPossible, Some(error()), false, state);
            check(WantConntrack::Yes, Some(error()), true, state);
        }
    }
}
