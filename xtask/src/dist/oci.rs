//! Container images without a daemon: an archive in the layout of the OCI image specification, which `ctr images import`,
//! `skopeo copy oci-archive:` and `podman load` take, with the `manifest.json` beside it that `docker load` looks for.
//!
//! The same contents are the same bytes, so an image has the same digest wherever it was made.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, GzBuilder};
use ring::digest;
use serde_json::{Value, json};

use super::tar::{Archive, Kind};
use crate::paths;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// One layer: files by their absolute path, each once. Directories above them come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    // Ordered, so that a directory comes before what is in it, and that the order of calls does not matter.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    File(Vec<u8>),
    Symlink(String),
    Directory,
}

/// An image for Linux on this machine's architecture.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// Name with tag: `registry.example/name:tag`.
    pub(crate) reference: String,
    pub(crate) entrypoint: Vec<String>,
    /// Arguments where the container has none of its own.
    pub(crate) command: Vec<String>,
    /// `NAME=value` each.
    pub(crate) environment: Vec<String>,
    /// `uid` or `uid:gid`; root if empty.
    pub(crate) user: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// An image as a file to write.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The archive.
    pub(crate) archive: Vec<u8>,
    /// What a registry knows the image by: `sha256:…` of its manifest.
    pub(crate) digest: String,
    /// Bytes to transfer: all blobs as they are.
    pub(crate) transferred: usize,
    /// Bytes on disk: all layers unpacked.
    pub(crate) unpacked: usize,
}

impl Layer {
    pub(crate) fn file(
        &mut self,
        path: &str,
        mode: u32,
        contents: impl Into<Vec<u8>>,
    ) -> Result<()> {
        self.add(path, mode, Contents::File(contents.into()))
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.add(path, 0o777, Contents::Symlink(target.to_owned()))
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        self.add(path, mode, Contents::Directory)
    }

    /// Puts it into a directory, which is made if need be.
    pub(crate) fn write_to(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for (name, entry) in &self.entries {
            let path = dir.join(name);
            entry
                .write_to(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, mode: u32, contents: Contents) -> Result<()> {
        let name = paths::in_archive(path).filter(|name| !name.is_empty());
        let name = name.with_context(|| format!("no path for a layer: {path}"))?;
        for (at, _) in name.match_indices('/') {
            self.entries.entry(name[..at].to_owned()).or_insert(Entry {
                mode: 0o755,
                contents: Contents::Directory,
            });
        }
        let is_directory = |contents: &Contents| matches!(contents, Contents::Directory);
        let known = self.entries.get(&name);
        ensure!(
            known.is_none_or(|known| is_directory(&known.contents) && is_directory(&contents)),
            "{path} is in the layer already"
        );
        self.entries.insert(name, Entry { mode, contents });
        Ok(())
    }

    fn tar(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for (name, Entry { mode, contents }) in &self.entries {
            let kind = match contents {
                Contents::File(contents) => Kind::File(contents),
                Contents::Symlink(target) => Kind::Symlink(target),
                Contents::Directory => Kind::Directory,
            };
            archive.entry(name, *mode, kind)?;
        }
        Ok(archive.finish())
    }
}

impl Entry {
    fn write_to(&self, path: &Path) -> io::Result<()> {
        match &self.contents {
            Contents::File(contents) => fs::write(path, contents)?,
            Contents::Symlink(target) => return symlink(target, path),
            Contents::Directory => fs::create_dir_all(path)?,
        }
        fs::set_permissions(path, Permissions::from_mode(self.mode))
    }
}

impl Image {
    /// Packs it.
    pub(crate) fn pack(&self) -> Result<Packed> {
        let tag = self.tag()?;
        let architecture = architecture()?;
        let mut blobs = Blobs::default();
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        let mut unpacked = 0;
        for layer in &self.layers {
            let tar = layer.tar()?;
            unpacked += tar.len();
            diff_ids.push(sha256(&tar));
            layers.push(blobs.add(LAYER, compress(&tar)?));
        }
        let config = blobs.add(CONFIG, text(&self.config(architecture, &diff_ids))?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
        });
        let mut manifest = blobs.add(MANIFEST, text(&manifest)?);
        let digest = string(&manifest, "digest");
        // The first is containerd's name for it, the second that of the specification.
        manifest["annotations"] = json!({
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": tag,
        });
        manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [manifest],
        });
        let docker = json!([{
            "Config": path(&config),
            "RepoTags": [self.reference],
            "Layers": layers.iter().map(path).collect::<Vec<_>>(),
        }]);
        Ok(Packed {
            digest,
            transferred: blobs.0.values().map(Vec::len).sum(),
            unpacked,
            archive: blobs.archive(&index, &docker)?,
        })
    }

    fn config(&self, architecture: &str, diff_ids: &[String]) -> Value {
        let history: Vec<Value> = diff_ids
            .iter()
            .map(|_| json!({ "created": EPOCH, "created_by": "cargo xtask" }))
            .collect();
        json!({
            "created": EPOCH,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "User": self.user,
                "Env": self.environment,
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "Labels": self.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        })
    }

    fn tag(&self) -> Result<&str> {
        let name = self.reference.rsplit('/').next().unwrap_or_default();
        let (_, tag) = name
            .split_once(':')
            .with_context(|| format!("`{}` has no tag", self.reference))?;
        Ok(tag)
    }
}

/// A time that does not depend on when it was made.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Contents by their digest, and what describes each.
#[derive(Debug, Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: &str, contents: Vec<u8>) -> Value {
        let digest = sha256(&contents);
        let descriptor = json!({
            "mediaType": media_type,
            "digest": digest,
            "size": contents.len(),
        });
        self.0.insert(digest, contents);
        descriptor
    }

    fn archive(&self, index: &Value, docker: &Value) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        let mut file =
            |name: &str, contents: &[u8]| archive.entry(name, 0o644, Kind::File(contents));
        file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        file("index.json", &text(index)?)?;
        file("manifest.json", &text(docker)?)?;
        for (digest, contents) in &self.0 {
            file(&format!("blobs/{}", digest.replace(':', "/")), contents)?;
        }
        Ok(archive.finish())
    }
}

fn path(descriptor: &Value) -> String {
    format!("blobs/{}", string(descriptor, "digest").replace(':', "/"))
}

fn string(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn text(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("JSON cannot be written")
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    // Neither a time nor a name in the header.
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// As the specification, and Go, call it.
fn architecture() -> Result<&'static str> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("images for {other} are not made"),
    })
}

#[cfg(test)]
mod tests;
