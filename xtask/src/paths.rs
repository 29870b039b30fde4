//! Where things are: the checkout, cargo's target directory, and the tools kept outside both.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of the checkout.
pub(crate) fn root() -> Result<PathBuf> {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = xtask.parent().context("xtask has no parent directory")?;
    Ok(root.to_owned())
}

/// Where cargo puts user-space builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let root = root()?;
    Ok(match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    })
}

/// The agent as users run it.
pub(crate) fn agent_binary() -> Result<PathBuf> {
    Ok(target_dir()?.join("release/wellhead"))
}

/// The directory of one installed tool. It lies outside the checkout, so that a clean checkout
/// finds what another one has built; `name` carries the version, so that versions live side by side.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    let dir = tools_dir(|name| env::var_os(name))
        .context("none of WELLHEAD_TOOLS, XDG_CACHE_HOME and HOME is set: nowhere to keep tools")?;
    Ok(dir.join(name))
}

fn tools_dir(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The XDG base directory specification: relative paths and empty values count as unset.
    let absolute = |name| {
        env(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("WELLHEAD_TOOLS")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| in_cache(&cache)))
        .or_else(|| absolute("HOME").map(|home| in_cache(&home.join(".cache"))))
}

fn in_cache(cache: &Path) -> PathBuf {
    cache.join("wellhead/tools")
}

/// The name of an absolute path in an archive: without the leading slash. `None` for a path that leads elsewhere.
pub(crate) fn in_archive(path: &str) -> Option<String> {
    let parts: Option<Vec<&str>> = Path::new(path)
        .components()
        .filter(|part| *part != Component::RootDir)
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Some(parts?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(env: &[(&str, &str)], expected: Option<&str>) {
        let lookup = |name: &str| {
            let (_, value) = env.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(value))
        };
        assert_eq!(tools_dir(lookup), expected.map(PathBuf::from), "{env:?}");
    }

    #[test]
    fn tools_live_in_the_first_directory_named() {
        check(&[], None);
        check(&[("HOME", "/h")], Some("/h/.cache/wellhead/tools"));
        check(
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")],
            Some("/c/wellhead/tools"),
        );
        check(
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "relative")],
            Some("/h/.cache/wellhead/tools"),
        );
        check(
            &[
                ("HOME", "/h"),
                ("XDG_CACHE_HOME", "/c"),
                ("WELLHEAD_TOOLS", "/t"),
            ],
            Some("/t"),
        );
        check(
            &[("HOME", "/h"), ("WELLHEAD_TOOLS", "")],
            Some("/h/.cache/wellhead/tools"),
        );
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().unwrap().join("xtask/Cargo.toml").is_file());
    }
}
