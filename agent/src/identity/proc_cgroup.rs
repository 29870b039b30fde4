//! Choosing among the lines of `/proc/PID/cgroup`.

/// The path that matters in the text of `/proc/PID/cgroup`: the unified hierarchy's, unless that is only the root
/// while a v1 hierarchy (hybrid and v1 nodes) says more; then systemd's own, memory's or pids', in this order.
pub fn parse_proc_cgroup(text: &str) -> Option<&str> {
    let path_of = |controller: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            (path.starts_with('/') && controllers.split(',').any(|name| name == controller))
                .then_some(path)
        })
    };
    let unified = path_of("");
    let v1 = || {
        ["name=systemd", "memory", "pids"]
            .into_iter()
            .find_map(path_of)
    };
    match unified {
        Some("/") | None => v1().or(unified),
        Some(path) => Some(path),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::parse_proc_cgroup;

    #[test]
    fn proc_cgroup_of_each_kind_of_node() {
        for (text, expected) in [
            (
                "0::/user.slice/user-0.slice\n",
                Some("/user.slice/user-0.slice"),
            ),
            ("0::/\n", Some("/")),
            (
                "12:pids:/docker/a\n1:name=systemd:/docker/b\n",
                Some("/docker/b"),
            ),
            ("12:pids:/docker/a\n3:memory:/docker/b\n", Some("/docker/b")),
            (
                "12:pids:/docker/a\n3:cpu,cpuacct:/docker/b\n",
                Some("/docker/a"),
            ),
            // hybrid: the unified hierarchy follows systemd's, or is not used at all
            (
                "1:name=systemd:/init.scope\n0::/system.slice/a.service\n",
                Some("/system.slice/a.service"),
            ),
            ("4:memory:/docker/a\n0::/\n", Some("/docker/a")),
            ("1:name=systemd:/a:b:c\n", Some("/a:b:c")),
            ("2:freezer:/x\n", None),
            ("0::relative\n", None),
            ("garbage", None),
            ("", None),
        ] {
            assert_eq!(parse_proc_cgroup(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_answer_is_a_path_in_the_text(text in any::<String>(), path in "[^\n]*") {
            prop_assert!(parse_proc_cgroup(&text).is_none_or(|path| path.starts_with('/')));
            let line = format!("{}\n0::/a{path}\n", text.replace(':', ""));
            prop_assert!(parse_proc_cgroup(&line).is_some_and(|found| found.starts_with("/a")));
        }
    }
}
