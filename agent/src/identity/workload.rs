//! What a pod belongs to, from its owner reference alone: watching ReplicaSets and Jobs of the whole cluster from every
//! node would cost the API server more than the names are worth.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Name and kind of an owning object, spelled as Kubernetes does (`Deployment`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// For instance `ReplicaSet`.
    pub kind: Arc<str>,
    /// For instance `web-6d4cf56db6`.
    pub name: Arc<str>,
}

/// One end of a flow, or an owner, as the workload it is part of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its kind; `Pod` for a pod that nothing controls.
    pub kind: Arc<str>,
}

/// The owners of a pod, nearest first: the controller it names and, where that one's name tells, the controller's own.
pub(super) fn owner_chain(
    controller: Option<ObjectName>,
    template_hash: Option<&str>,
) -> Vec<ObjectName> {
    let Some(owner) = controller else {
        return Vec::new();
    };
    let above = match &*owner.kind {
        "ReplicaSet" => deployment(&owner.name, template_hash),
        "Job" => cron_job(&owner.name),
        // A static pod's mirror is owned by its node, which is no workload.
        "Node" => return Vec::new(),
        _ => None,
    };
    std::iter::once(owner).chain(above).collect()
}

/// A Deployment calls its ReplicaSets `<deployment>-<hash>` and labels the pods with that hash.
fn deployment(replica_set: &str, template_hash: Option<&str>) -> Option<ObjectName> {
    let hash = template_hash.filter(|hash| !hash.is_empty())?;
    let name = replica_set.strip_suffix(hash)?.strip_suffix('-')?;
    named("Deployment", name)
}

/// A CronJob calls its Jobs `<cronjob>-<minutes since the epoch>`.
fn cron_job(job: &str) -> Option<ObjectName> {
    let (name, minutes) = job.rsplit_once('-')?;
    let is_time = minutes.len() >= 8 && minutes.bytes().all(|byte| byte.is_ascii_digit());
    if is_time {
        named("CronJob", name)
    } else {
        None
    }
}

fn named(kind: &str, name: &str) -> Option<ObjectName> {
    (!name.is_empty()).then(|| ObjectName {
        kind: kind.into(),
        name: name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{ObjectName, owner_chain};

    fn check(kind: &str, name: &str, hash: Option<&str>, expected: &[(&str, &str)]) {
        let chain = owner_chain(
            Some(ObjectName {
                kind: kind.into(),
                name: name.into(),
            }),
            hash,
        );
        let chain: Vec<(&str, &str)> = chain
            .iter()
            .map(|owner| (&*owner.kind, &*owner.name))
            .collect();
        assert_eq!(chain, expected, "{kind} {name} {hash:?}");
    }

    #[test]
    fn chains() {
        let web = ("ReplicaSet", "web-6d4cf56db6");
        check(
            web.0,
            web.1,
            Some("6d4cf56db6"),
            &[web, ("Deployment", "web")],
        );
        check(web.0, web.1, None, &[web]);
        check(web.0, web.1, Some("d4cf56db6"), &[web]);
        check(web.0, web.1, Some(""), &[web]);
        check("ReplicaSet", "-abc", Some("abc"), &[("ReplicaSet", "-abc")]);
        check("StatefulSet", "db", Some("abc"), &[("StatefulSet", "db")]);
        check("DaemonSet", "agent", None, &[("DaemonSet", "agent")]);
        check(
            "Job",
            "backup-28935120",
            None,
            &[("Job", "backup-28935120"), ("CronJob", "backup")],
        );
        check(
            "Job",
            "nightly-run-28935120",
            None,
            &[("Job", "nightly-run-28935120"), ("CronJob", "nightly-run")],
        );
        check("Job", "load-1000000", None, &[("Job", "load-1000000")]);
        check("Job", "load-2893512x", None, &[("Job", "load-2893512x")]);
        check("Job", "-28935120", None, &[("Job", "-28935120")]);
        check("Workflow", "train", None, &[("Workflow", "train")]);
        check("Node", "node-a", None, &[]);
        assert!(owner_chain(None, Some("abc")).is_empty());
    }
}
