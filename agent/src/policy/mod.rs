//! How much: whose telemetry is wanted, and how many of its events.

mod arguments;
mod bucket;
mod rate;

pub use self::arguments::ArgumentRate;
pub use self::rate::EventRates;
use crate::identity::{Glob, PodNamespace};

/// The namespaces whose pods are captured: those that `include` matches, or all if that is empty, less those that `exclude`
/// matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

impl Namespaces {
    /// Names, or patterns of names in which `*` stands for any run of characters.
    pub fn new<'a>(
        include: impl IntoIterator<Item = &'a str>,
        exclude: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            include: include.into_iter().map(Glob::new).collect(),
            exclude: exclude.into_iter().map(Glob::new).collect(),
        }
    }

    /// Whether nothing is left out.
    pub fn are_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether telemetry of whoever is in this namespace is left out. What is in none never is; a namespace that is not known
    /// is matched by nothing.
    pub fn leave_out(&self, namespace: &PodNamespace) -> bool {
        let matched = |globs: &[Glob]| match namespace {
            PodNamespace::Known(name) => globs.iter().any(|glob| glob.matches(name)),
            PodNamespace::Unknown | PodNamespace::NoPod => false,
        };
        let wanted = self.include.is_empty() || matched(&self.include);
        *namespace != PodNamespace::NoPod && (!wanted || matched(&self.exclude))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_less_excluded() {
        let check = |include: &[&str], exclude: &[&str], left_out: &[&str], kept: &[&str]| {
            let namespaces = Namespaces::new(include.iter().copied(), exclude.iter().copied());
            for (names, expected) in [(left_out, true), (kept, false)] {
                for name in names {
                    let namespace = match *name {
                        "(none)" => PodNamespace::NoPod,
                        "(unknown)" => PodNamespace::Unknown,
                        name => PodNamespace::Known(name.into()),
                    };
                    let found = namespaces.leave_out(&namespace);
                    assert_eq!(found, expected, "{name} of {namespaces:?}");
                }
            }
        };
        check(&[], &[], &[], &["shop", "(none)", "(unknown)"]);
        check(
            &["shop"],
            &[],
            &["shop-b", "(unknown)"],
            &["shop", "(none)"],
        );
        check(
            &[],
            &["kube-*", "ci"],
            &["kube-system", "kube-", "ci"],
            &["kube", "ci-b", "(none)", "(unknown)"],
        );
        check(
            &["team-*"],
            &["*-test"],
            &["team-a-test", "shop", "(unknown)"],
            &["team-a", "(none)"],
        );
        check(&["*"], &["*"], &["shop"], &["(none)"]);
        assert!(Namespaces::default().are_all());
        assert!(!Namespaces::new(["*"], []).are_all());
    }
}
