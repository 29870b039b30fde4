//! Which container belongs to which pod, as the API server tells it: everything there has been while somebody watched.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::cluster::Cluster;

/// Between the end of one watch and the next.
const PAUSE: Duration = Duration::from_millis(300);

/// What a pod is called, and one of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) uid: String,
    /// Empty for what is the pod's and no container's.
    pub(crate) container: String,
    /// Kind and name.
    pub(crate) workload: (String, String),
}

#[derive(Default)]
struct Known {
    containers: BTreeMap<String, Named>,
    pods: BTreeMap<String, Named>,
    /// Owners of owners.
    owners: BTreeMap<(String, String, String), (String, String)>,
}

struct Shared {
    known: Mutex<Known>,
    child: Mutex<Option<Child>>,
    stop: AtomicBool,
}

/// Watches all pods until it is dropped.
pub(crate) struct Truth {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

impl Truth {
    pub(crate) fn watch(cluster: &Cluster) -> Self {
        let shared = Arc::new(Shared {
            known: Mutex::default(),
            child: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (cluster, told) = (cluster.clone(), Arc::clone(&shared));
        let watcher = thread::spawn(move || {
            while !told.stop.load(Ordering::Relaxed) {
                told.watch_once(&cluster);
                thread::sleep(PAUSE);
            }
        });
        Self {
            shared,
            watcher: Some(watcher),
        }
    }

    /// By container id.
    pub(crate) fn containers(&self) -> BTreeMap<String, Named> {
        lock(&self.shared.known).containers.clone()
    }

    /// By UID.
    pub(crate) fn pods(&self) -> BTreeMap<String, Named> {
        lock(&self.shared.known).pods.clone()
    }
}

impl Drop for Truth {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(child) = lock(&self.shared.child).as_mut() {
            drop(child.kill());
        }
        drop(self.watcher.take().map(JoinHandle::join));
    }
}

impl Shared {
    /// One list and watch of all pods, to its end.
    fn watch_once(&self, cluster: &Cluster) {
        let mut command: Command = cluster.client();
        command
            .args([
                "get",
                "pods",
                "--all-namespaces",
                "--watch",
                "--output=json",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else {
            return;
        };
        let told = child.stdout.take();
        *lock(&self.child) = Some(child);
        let pods = told.map(|told| {
            serde_json::Deserializer::from_reader(BufReader::new(told)).into_iter::<Value>()
        });
        for pod in pods.into_iter().flatten() {
            // Cut off with its server.
            let Ok(pod) = pod else { break };
            self.learn(cluster, &pod);
        }
        let child = lock(&self.child).take();
        if let Some(mut child) = child {
            drop(child.kill());
            drop(child.wait());
        }
    }

    fn learn(&self, cluster: &Cluster, pod: &Value) {
        let (namespace, name) = (
            text(pod, "/metadata/namespace"),
            text(pod, "/metadata/name"),
        );
        let workload = self.workload(cluster, &namespace, &name, pod);
        let named = |container: &str| Named {
            namespace: namespace.clone(),
            pod: name.clone(),
            uid: text(pod, "/metadata/uid"),
            container: container.to_owned(),
            workload: workload.clone(),
        };
        let mut known = lock(&self.known);
        for list in ["initContainerStatuses", "containerStatuses"] {
            for status in pod["status"][list].as_array().into_iter().flatten() {
                let ids = [
                    "/containerID",
                    "/state/terminated/containerID",
                    "/lastState/terminated/containerID",
                ];
                for id in ids.map(|place| text(status, place)) {
                    if let Some((_, id)) = id.split_once("://") {
                        known
                            .containers
                            .insert(id.to_owned(), named(&text(status, "/name")));
                    }
                }
            }
        }
        known.pods.insert(text(pod, "/metadata/uid"), named(""));
    }

    /// The farthest owner, by asking for each; a pod without one is its own.
    fn workload(
        &self,
        cluster: &Cluster,
        namespace: &str,
        pod_name: &str,
        pod: &Value,
    ) -> (String, String) {
        let Some(mut owner) = owner_of(pod) else {
            return ("Pod".to_owned(), pod_name.to_owned());
        };
        // Static pods belong to their node, which owns nothing in this sense.
        if owner.0 == "Node" {
            return ("Pod".to_owned(), pod_name.to_owned());
        }
        loop {
            let key = (namespace.to_owned(), owner.0.clone(), owner.1.clone());
            if let Some(of_owner) = lock(&self.known).owners.get(&key) {
                return of_owner.clone();
            }
            let asked = cluster.try_get(namespace, &[&owner.0, &owner.1]);
            // Not there any more, or no server: not kept, so that the next news of the pod asks again.
            let Ok(object) = asked else { return owner };
            let next = owner_of(&object);
            let farthest = next.clone().unwrap_or_else(|| owner.clone());
            lock(&self.known).owners.insert(key, farthest);
            match next {
                Some(next) => owner = next,
                None => return owner,
            }
        }
    }
}

fn owner_of(object: &Value) -> Option<(String, String)> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some((text(owner, "/kind"), text(owner, "/name")))
}

fn text(object: &Value, place: &str) -> String {
    let found = object.pointer(place).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
