use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::*;

fn sample(swapped: bool) -> Image {
    let mut layer = Layer::default();
    let mut steps: [fn(&mut Layer); 3] = [
        |layer| {
            layer
                .file("/usr/bin/tool", 0o755, b"\x7fELF".as_slice())
                .unwrap();
        },
        |layer| layer.symlink("/bin", "usr/bin").unwrap(),
        |layer| layer.directory("/var/tmp", 0o1777).unwrap(),
    ];
    if swapped {
        steps.reverse();
    }
    for step in steps {
        step(&mut layer);
    }
    let mut second = Layer::default();
    second.file("/etc/motd", 0o644, "hello\n").unwrap();
    Image {
        reference: "registry.example:5000/team/tool:1.2".to_owned(),
        entrypoint: vec!["/usr/bin/tool".to_owned()],
        command: vec!["run".to_owned()],
        environment: vec!["PATH=/usr/bin".to_owned()],
        user: "0:0".to_owned(),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        layers: vec![layer, second],
    }
}

/// The archive unpacked by the system's `tar`.
fn unpack(bytes: &[u8], name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("wellhead-oci-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("archive.tar");
    fs::write(&file, bytes).unwrap();
    let status = Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(&file)
        .arg("--directory")
        .arg(&dir)
        .status();
    assert!(status.unwrap().success());
    dir
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The file a descriptor describes: its size and digest have to be right.
fn blob(dir: &Path, descriptor: &Value) -> Vec<u8> {
    let bytes = fs::read(dir.join(path(descriptor))).unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    assert_eq!(descriptor["digest"], sha256(&bytes));
    bytes
}

#[test]
fn blobs_are_named_by_what_is_in_them() {
    // Of the two bytes `{}`.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let mut blobs = Blobs::default();
    let descriptor = blobs.add("text/plain", text(&serde_json::json!({})).unwrap());
    assert_eq!(descriptor["digest"], format!("sha256:{digest}"));
    assert_eq!(descriptor["size"], 2);
    assert_eq!(blobs.0[&format!("sha256:{digest}")], b"{}");
}

#[test]
fn one_gets_from_the_index_to_the_files() {
    let packed = sample(false).pack().unwrap();
    let dir = unpack(&packed.archive, "walk");
    assert_eq!(json(&dir.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let index = json(&dir.join("index.json"));
    let described = &index["manifests"][0];
    assert_eq!(described["digest"], packed.digest);
    assert_eq!(
        described["annotations"]["io.containerd.image.name"],
        "registry.example:5000/team/tool:1.2"
    );
    assert_eq!(
        described["annotations"]["org.opencontainers.image.ref.name"],
        "1.2"
    );
    let manifest: Value = serde_json::from_slice(&blob(&dir, described)).unwrap();
    let config: Value = serde_json::from_slice(&blob(&dir, &manifest["config"])).unwrap();
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/tool");
    assert_eq!(config["config"]["User"], "0:0");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let mut unpacked = 0;
    for (layer, diff_id) in layers
        .iter()
        .zip(config["rootfs"]["diff_ids"].as_array().unwrap())
    {
        let mut tar = Vec::new();
        GzDecoder::new(blob(&dir, layer).as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(*diff_id, sha256(&tar));
        unpacked += tar.len();
        let layer = unpack(&tar, "layer");
        if layer.join("etc").exists() {
            assert_eq!(fs::read(layer.join("etc/motd")).unwrap(), b"hello\n");
        } else {
            assert_eq!(fs::read(layer.join("bin/tool")).unwrap(), b"\x7fELF");
        }
        fs::remove_dir_all(layer).unwrap();
    }
    assert_eq!(packed.unpacked, unpacked);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn docker_finds_the_same_blobs() {
    let dir = unpack(&sample(false).pack().unwrap().archive, "docker");
    let docker = json(&dir.join("manifest.json"));
    assert_eq!(
        docker[0]["RepoTags"][0],
        "registry.example:5000/team/tool:1.2"
    );
    let files = docker[0]["Layers"].as_array().unwrap().iter();
    for file in files.chain([&docker[0]["Config"]]) {
        assert!(dir.join(file.as_str().unwrap()).is_file(), "{file}");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_same_contents_are_the_same_bytes() {
    let (first, second) = (sample(false).pack().unwrap(), sample(true).pack().unwrap());
    assert_eq!(first.digest, second.digest);
    assert!(first.archive == second.archive);
    let mut other = sample(false);
    other.user = "1".to_owned();
    assert_ne!(other.pack().unwrap().digest, first.digest);
}

#[test]
fn digests_are_written_as_the_specification_has_them() {
    assert_eq!(
        sha256(b"abc"),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn what_makes_no_image_is_refused() {
    let mut layer = Layer::default();
    assert!(layer.file("/a/../b", 0o644, "").is_err());
    assert!(layer.file("/", 0o644, "").is_err());
    layer.file("/a", 0o644, "").unwrap();
    assert!(layer.file("a", 0o644, "").is_err());
    let untagged = Image {
        reference: "registry.example:5000/tool".to_owned(),
        ..Image::default()
    };
    assert!(untagged.pack().is_err());
}

#[test]
fn layers_can_be_had_as_files() {
    let dir = std::env::temp_dir().join(format!("wellhead-oci-tree-{}", std::process::id()));
    for layer in sample(false).layers {
        layer.write_to(&dir).unwrap();
    }
    assert_eq!(fs::read(dir.join("bin/tool")).unwrap(), b"\x7fELF");
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("usr/bin/tool"), 0o755);
    assert_eq!(mode("var/tmp"), 0o1777);
    fs::remove_dir_all(dir).unwrap();
}
