//! Splitting image references, by the grammar of distribution/reference (`[host[:port]/]path[:tag][@digest]`).

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The parts of an image reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// Everything before tag and digest, registry included, as written.
    pub name: Arc<str>,
    /// As written; none is made up where the reference has none.
    pub tag: Option<Arc<str>>,
    /// With its algorithm: `sha256:…`.
    pub digest: Option<Arc<str>>,
}

impl ImageRef {
    /// Splits a reference as a container's specification has it.
    pub fn parse(reference: &str) -> Self {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, (!digest.is_empty()).then(|| digest.into())),
            None => (reference, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let path = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[path..].find(':') {
            Some(colon) => (&rest[..path + colon], &rest[path + colon + 1..]),
            None => (rest, ""),
        };
        Self {
            name: name.into(),
            tag: (!tag.is_empty()).then(|| tag.into()),
            digest,
        }
    }

    /// `<tag>@<digest>`, or whichever of them there is: `service.version` of last resort (semantic conventions,
    /// non-normative Kubernetes page).
    pub fn version(&self) -> Option<Arc<str>> {
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}").into()),
            (tag, digest) => digest.as_ref().or(tag.as_ref()).map(Arc::clone),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::ImageRef;

    fn check(reference: &str, expected: (&str, Option<&str>, Option<&str>), version: Option<&str>) {
        let image = ImageRef::parse(reference);
        let parts = (&*image.name, image.tag.as_deref(), image.digest.as_deref());
        assert_eq!(parts, expected, "{reference}");
        assert_eq!(image.version().as_deref(), version, "{reference}");
    }

    #[test]
    fn references() {
        check("nginx", ("nginx", None, None), None);
        check("nginx:1.27", ("nginx", Some("1.27"), None), Some("1.27"));
        check(
            "docker.io/library/nginx:1",
            ("docker.io/library/nginx", Some("1"), None),
            Some("1"),
        );
        check(
            "localhost:5000/team/app",
            ("localhost:5000/team/app", None, None),
            None,
        );
        check(
            "localhost:5000/app:2",
            ("localhost:5000/app", Some("2"), None),
            Some("2"),
        );
        check(
            "app@sha256:ab",
            ("app", None, Some("sha256:ab")),
            Some("sha256:ab"),
        );
        check(
            "r.example:443/a/b:v1@sha256:ab",
            ("r.example:443/a/b", Some("v1"), Some("sha256:ab")),
            Some("v1@sha256:ab"),
        );
        check(
            "[fd00::1]:5000/app:3",
            ("[fd00::1]:5000/app", Some("3"), None),
            Some("3"),
        );
        check("", ("", None, None), None);
        check("app:@", ("app", None, None), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(reference in any::<String>()) {
            let image = ImageRef::parse(&reference);
            let mut joined = image.name.to_string();
            for (separator, part) in [(':', image.tag), ('@', image.digest)] {
                if let Some(part) = part {
                    joined.push(separator);
                    joined.push_str(&part);
                }
            }
            let without = |text: &str| text.replace([':', '@'], "");
            prop_assert_eq!(without(&joined), without(&reference));
        }
    }
}
