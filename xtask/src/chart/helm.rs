//! Helm, as far as the tests and the generated documents need it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cmd::Cmd;
use crate::test_tools;

/// A release that is only rendered.
const RELEASE: &str = "wellhead";

#[derive(Debug)]
pub(super) struct Helm {
    program: PathBuf,
}

impl Helm {
    /// Always the same version, because versions print differently.
    pub(super) fn find() -> Result<Self> {
        Ok(Self {
            program: test_tools::helm()?,
        })
    }

    pub(super) fn lint(&self, chart: &Path, args: &[&str]) -> Result<()> {
        let lint = Cmd::new(&self.program).args(["lint", "--strict", "--quiet"]);
        let output = lint.arg(chart).args(args).capture()?;
        if !output.status.success() {
            bail!(
                "helm lint {} failed:\n{}{}",
                args.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// The objects that these values make for an API server of this version.
    pub(super) fn template(&self, chart: &Path, server: &str, args: &[&str]) -> Result<Vec<Value>> {
        let text = self
            .render(chart, server, args)
            .output_quietly()
            .with_context(|| format!("helm template {}", args.join(" ")))?;
        serde_saphyr::from_multiple(&text).context("what helm makes is not YAML")
    }

    /// As [`Self::template`] with the default values, as Helm prints it.
    pub(super) fn text(&self, chart: &Path, server: &str) -> Result<String> {
        self.render(chart, server, &[]).output_quietly()
    }

    /// Why Helm makes nothing of these values; `None` if it does.
    pub(super) fn refusal(&self, chart: &Path, args: &[&str]) -> Result<Option<String>> {
        let output = self.render(chart, super::NEWEST, args).capture()?;
        let refusal = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!output.status.success()).then_some(refusal))
    }

    fn render(&self, chart: &Path, server: &str, args: &[&str]) -> Cmd {
        Cmd::new(&self.program)
            .args(["template", RELEASE])
            .arg(chart)
            .args(["--namespace", "wellhead", "--kube-version", server])
            .args(args)
    }
}
