//! What is told of containers whose lives are replayed: events as users see them, and what is counted.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::Value;
use wellhead_common::record::Kind;

use super::*;
use crate::config::Config;
use crate::export::live::{EventFilter, Subscription};
use crate::identity::{
    ContainerInfo, ContainerStatus, PodInfo, PodUpdate, ServiceLabels, Terminated, Workload,
};
use crate::kernel::ProcessUsage;
use crate::recording::Ring;
use crate::telemetry::snapshot::PointValue;

const SECOND: u64 = 1_000_000_000;
const UID: &str = "8f4f4a46-7f54-4f0c-a3e1-5b8e0d6d4b1e";
/// As `wait4(2)` has them.
const KILLED: u32 = 9;
const EXITED_1: u32 = 1 << 8;

/// A container's id; its cgroup has the same number.
fn id(number: u64) -> String {
    format!("{number:064x}")
}

/// A pipeline, and a subscriber.
struct Story {
    replay: Replay,
    events: mpsc::Receiver<Arc<str>>,
    now: u64,
}

macro_rules! append {
    ($bytes:expr, $($value:expr),+ $(,)?) => { $($bytes.extend_from_slice(&$value.to_ne_bytes());)+ };
}

impl Story {
    fn begin(config: &Config, kubernetes: bool) -> Self {
        let start = Start {
            node_name: "node-a".to_owned(),
            kubernetes,
            ..Start::default()
        };
        let settings = Settings::of_recording(config, &start).expect("a configuration");
        let nobody = (None, None);
        let mut replay = Replay::new(&start, &settings, Arc::default(), nobody, Arc::default());
        let (subscription, events) = Subscription::new(EventFilter::default());
        replay.state.subscribe(subscription);
        Self {
            replay,
            events,
            now: 0,
        }
    }

    fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self.replay.take_in(Entry::Time(now));
        self
    }

    fn second(&mut self) {
        self.replay.take_in(Entry::Told(Told::Second));
    }

    fn header(&self, kind: Kind, cgroup: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        append!(bytes, kind as u32, 0_u32, self.now, cgroup);
        bytes
    }

    fn cgroup(&mut self, kind: Kind, cgroup: u64, path: &str) {
        let mut bytes = self.header(kind, cgroup);
        let length = u32::try_from(path.len()).expect("short");
        append!(bytes, 0_u32, length);
        bytes.extend_from_slice(path.as_bytes());
        self.replay.take_in(Entry::Record(Ring::Identity, &bytes));
    }

    fn made(&mut self, number: u64) {
        let path = format!("/kubepods/burstable/pod{UID}/{}", id(number));
        self.cgroup(Kind::CgroupMkdir, number, &path);
    }

    fn removed(&mut self, number: u64) {
        self.cgroup(Kind::CgroupRmdir, number, "");
    }

    fn other(&mut self, bytes: &[u8]) {
        self.replay.take_in(Entry::Record(Ring::Other, bytes));
    }

    fn exec(&mut self, cgroup: u64, pid: u32, path: &str) {
        let mut bytes = self.header(Kind::Exec, cgroup);
        append!(bytes, pid, 1_u32, 0_u32, 0_u32, 0_u32, 0_u32);
        append!(bytes, u64::from(pid), 1_u64, 0_u64);
        bytes.extend_from_slice(&[0; 16]);
        // No flags; of all texts the first alone.
        append!(bytes, 0_u32, u32::try_from(path.len()).expect("short"));
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(path.as_bytes());
        self.other(&bytes);
    }

    fn exit(&mut self, cgroup: u64, pid: u32, status: u32) {
        let mut bytes = self.header(Kind::Exit, cgroup);
        append!(bytes, pid, 1_u32, status, 0_u32, u64::from(pid));
        // Its name, what it used, and who told it to end.
        bytes.extend_from_slice(&[0; 16 + 80 + 96]);
        self.other(&bytes);
    }

    fn oom_kill(&mut self, cgroup: u64, pid: u32) {
        let mut bytes = self.header(Kind::OomKill, cgroup);
        append!(bytes, pid, 0_u32, u64::from(pid));
        // Its name, what it took, and the limit.
        bytes.extend_from_slice(&[0; 16 + 40]);
        self.other(&bytes);
    }

    fn pod(&mut self, ids: &[u64], status: ContainerStatus) {
        let pod = pod(ids, status);
        let update = PodUpdate::Applied(Box::new(pod));
        self.replay.take_in(Entry::Told(Told::Pods(update)));
    }

    /// A run of the pod's container: it is made, starts, is named and ends, within seven seconds.
    fn run(&mut self, ids: &[u64], restarts: u32, end: impl FnOnce(&mut Self, u64, u32)) {
        let number = *ids.last().expect("one");
        let pid = 1_000 + u32::try_from(number).expect("small");
        let began = self.now;
        self.made(number);
        self.at(began + SECOND / 2);
        self.exec(number, pid, "/proc/self/exe");
        self.exec(number, pid + 1, "/bin/app");
        self.at(began + 2 * SECOND).pod(ids, counted(restarts));
        self.at(began + 5 * SECOND);
        end(self, number, pid + 1);
        self.removed(number);
        self.at(began + 6 * SECOND).second();
        self.at(began + 7 * SECOND);
    }

    /// Events of containers since this was asked last.
    fn told(&mut self) -> String {
        let mut text = String::new();
        while let Ok(line) = self.events.try_recv() {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            let name = event["name"].as_str().unwrap_or_default();
            if let Some(name) = name.strip_prefix("wellhead.container.") {
                let of = |key: &str| event["resource"][key].as_str().unwrap_or("-").to_owned();
                let container = of("container.id");
                let number = container.trim_start_matches('0');
                let whose = format!("{number} {}", of("k8s.container.name"));
                let (at, attributes) = (&event["time_unix_nano"], &event["attributes"]);
                writeln!(text, "{at} {name} {whose} {attributes}").expect("memory");
            }
        }
        text
    }

    #[track_caller]
    fn check(&mut self, expected: &Expect) {
        expected.assert_eq(&self.told());
    }

    #[track_caller]
    fn check_counted(&mut self, expected: &Expect) {
        let snapshot = self.replay.read().into_snapshot();
        let exits = snapshot.families.iter();
        let points = exits
            .filter(|family| family.metric == Metric::ContainerExits)
            .flat_map(|family| &family.points);
        let mut lines: Vec<String> = points
            .map(|point| {
                let resource = &snapshot.resources[point.resource];
                let whose = resource
                    .text("k8s.pod.name")
                    .or(resource.text("container.id"));
                let attributes: Vec<_> = point
                    .attributes
                    .iter()
                    .map(|(key, value)| format!("{}={value:?}", key.key()))
                    .collect();
                let attributes = attributes.join(" ");
                format!("{} {attributes} {:?}\n", whose.unwrap_or("-"), point.value)
            })
            .collect();
        lines.sort_unstable();
        expected.assert_eq(&lines.concat());
    }
}

fn counted(restarts: u32) -> ContainerStatus {
    ContainerStatus {
        restart_count: Some(restarts),
        ..ContainerStatus::default()
    }
}

fn backing_off(restarts: u32) -> ContainerStatus {
    ContainerStatus {
        waiting: Some("CrashLoopBackOff".into()),
        ..counted(restarts)
    }
}

/// A pod of one container with these runs.
fn pod(ids: &[u64], status: ContainerStatus) -> PodInfo {
    let [namespace, name] = ["shop", "web-0"].map(Arc::<str>::from);
    let workload = Workload {
        namespace: Arc::clone(&namespace),
        name: Arc::clone(&name),
        kind: "Pod".into(),
    };
    PodInfo {
        uid: UID.into(),
        namespace,
        name,
        config_hash: None,
        ips: Vec::new(),
        host_network: false,
        finished: false,
        node_name: None,
        start_time: None,
        ready_since: None,
        owners: Vec::new(),
        workload: Arc::new(workload),
        containers: vec![ContainerInfo {
            name: "app".into(),
            ids: ids.iter().map(|number| id(*number).into()).collect(),
            status,
            ..ContainerInfo::default()
        }],
        labels: ServiceLabels::default(),
        resource_annotations: Vec::new(),
        metadata_attributes: Vec::new(),
    }
}

/// The story of a container that does not get along with its memory.
fn crashes(story: &mut Story) {
    story.at(SECOND).pod(&[], ContainerStatus::default());
    story.made(9);
    story.exec(9, 900, "/pause");
    story.run(&[1], 0, |story, number, pid| {
        story.oom_kill(number, pid);
        story.exit(number, pid, KILLED);
    });
    story.run(&[1, 2], 1, |story, number, pid| {
        story.exit(number, pid, EXITED_1);
    });
    story.run(&[2, 3], 2, |story, number, pid| {
        story.exit(number, pid, EXITED_1);
    });
}

#[test]
fn the_story_of_a_crash_loop() {
    let mut story = Story::begin(&Config::default(), true);
    crashes(&mut story);
    story.check(&expect![[r#"
        1500000000 start 1 app {"process.pid":1002,"process.executable.name":"app","wellhead.duration":500000000,"k8s.container.restart_count":0}
        6000000000 exit 1 app {"process.pid":1002,"process.executable.name":"app","wellhead.process.signal":"SIGKILL","wellhead.duration":4500000000,"wellhead.container.oom_killed":true,"wellhead.container.oom_kills":1}
        8500000000 start 2 app {"process.pid":1003,"process.executable.name":"app","wellhead.duration":500000000,"k8s.container.restart_count":1,"wellhead.container.previous.signal":"SIGKILL","wellhead.container.downtime":2500000000}
        13000000000 exit 2 app {"process.pid":1003,"process.executable.name":"app","process.exit.code":1,"wellhead.duration":4500000000}
        15500000000 start 3 app {"process.pid":1004,"process.executable.name":"app","wellhead.duration":500000000,"k8s.container.restart_count":2,"wellhead.container.previous.exit.code":1,"wellhead.container.downtime":2500000000}
        20000000000 exit 3 app {"process.pid":1004,"process.executable.name":"app","process.exit.code":1,"wellhead.duration":4500000000}
        20000000000 crash_loop 3 app {"wellhead.container.crash_loop.source":"observed","wellhead.container.crash_loop.bad_ends":3,"k8s.container.restart_count":2,"process.exit.code":1,"wellhead.duration":4500000000}
    "#]]);
    // It was told; and the sandbox is nobody's business.
    story.pod(&[2, 3], backing_off(2));
    story.at(60 * SECOND).second();
    story.exit(9, 900, KILLED);
    story.removed(9);
    story.at(63 * SECOND).second();
    story.check(&expect![[""]]);
    story.check_counted(&expect![[r#"
        web-0 k8s.container.name=Str("app") process.exit.code=Int(1) Int(2)
        web-0 k8s.container.name=Str("app") wellhead.container.oom_killed=Bool(true) wellhead.process.signal=Static("SIGKILL") Int(1)
    "#]]);
}

#[test]
fn it_is_the_same_every_time() {
    let [first, second] = [(); 2].map(|()| {
        let mut story = Story::begin(&Config::default(), true);
        crashes(&mut story);
        story.told()
    });
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

#[test]
fn the_status_tells_of_a_loop_that_nobody_saw_begin() {
    let mut story = Story::begin(&Config::default(), true);
    let time = |second: i64| jiff::Timestamp::from_second(second).ok();
    let status = ContainerStatus {
        last_end: Some(Box::new(Terminated {
            exit_code: 137,
            signal: None,
            reason: Some("OOMKilled".into()),
            started_at: time(90),
            finished_at: time(95),
        })),
        ..backing_off(7)
    };
    story.at(100 * SECOND).pod(&[1], status.clone());
    story.at(101 * SECOND).pod(&[1], status);
    story.check(&expect![[r#"
        100000000000 crash_loop 1 app {"wellhead.container.crash_loop.source":"status","wellhead.container.crash_loop.bad_ends":0,"k8s.container.restart_count":7,"process.exit.code":137,"wellhead.container.oom_killed":true,"wellhead.duration":5000000000}
    "#]]);
}

#[test]
fn without_a_cluster_only_what_a_container_does_itself_is_told() {
    let mut story = Story::begin(&Config::default(), false);
    let path = format!("/docker/{}", id(1));
    story.at(SECOND).cgroup(Kind::CgroupMkdir, 1, &path);
    story.at(2 * SECOND).exec(1, 100, "/app");
    story.at(3 * SECOND).exit(1, 100, EXITED_1);
    story.removed(1);
    story.at(4 * SECOND).second();
    // Older than the agent.
    let told = Told::Cgroups {
        started_ns: 4 * SECOND,
        complete: false,
        cgroups: vec![(2, format!("/docker/{}", id(2)))],
    };
    story.replay.take_in(Entry::Told(told));
    story.exec(2, 200, "/bin/sh");
    story.exit(2, 200, EXITED_1);
    story.at(5 * SECOND).removed(2);
    story.at(8 * SECOND).second();
    story.check(&expect![[r#"
        2000000000 start 1 - {"process.pid":100,"process.executable.name":"app","wellhead.duration":1000000000}
        3000000000 exit 1 - {"process.pid":100,"process.executable.name":"app","process.exit.code":1,"wellhead.duration":1000000000}
        5000000000 exit 2 - {}
    "#]]);
    story.check_counted(&expect![[r#"
        0000000000000000000000000000000000000000000000000000000000000001 process.exit.code=Int(1) Int(1)
        0000000000000000000000000000000000000000000000000000000000000002  Int(1)
    "#]]);
}

#[test]
fn nothing_is_told_of_namespaces_that_are_left_out() {
    let mut config = Config::default();
    let shop = serde_json::from_value(serde_json::json!(["shop"]));
    config.kubernetes.namespaces.exclude = shop.expect("a pattern");
    let mut story = Story::begin(&config, true);
    crashes(&mut story);
    story.pod(&[2, 3], backing_off(2));
    story.check(&expect![[""]]);
    story.check_counted(&expect![[""]]);
}

#[test]
fn a_pod_nobody_tells_of_is_waited_for() {
    let mut story = Story::begin(&Config::default(), true);
    story.at(SECOND).made(1);
    story.at(2 * SECOND).exec(1, 100, "/app");
    story.at(3 * SECOND).exit(1, 100, 0);
    story.removed(1);
    story.at(10 * SECOND).second();
    assert_eq!(story.told(), "");
    story.at(32 * SECOND).second();
    story.check(&expect![[r#"
        2000000000 start 1 - {"process.pid":100,"process.executable.name":"app","wellhead.duration":1000000000}
        3000000000 exit 1 - {"process.pid":100,"process.executable.name":"app","process.exit.code":0,"wellhead.duration":1000000000}
    "#]]);
}

#[test]
fn what_waits_when_the_agent_stops_is_told() {
    let mut story = Story::begin(&Config::default(), true);
    story.at(SECOND).made(1);
    story.exec(1, 100, "/app");
    story.exit(1, 100, 0);
    story.replay.settle();
    story.check(&expect![[r#"
        1000000000 start 1 - {"process.pid":100,"process.executable.name":"app","wellhead.duration":0}
        1000000000 exit 1 - {"process.pid":100,"process.executable.name":"app","process.exit.code":0,"wellhead.duration":0}
    "#]]);
}

#[test]
fn a_list_of_processes_may_be_older_than_their_ends() {
    let mut story = Story::begin(&Config::default(), false);
    story.at(SECOND).made(1);
    story.exec(1, 7, "/bin/app");
    let list = || {
        Told::Usage(vec![ProcessUsage {
            pid: 7,
            start_ns: 7,
            resident_bytes: 4_096,
            ..ProcessUsage::default()
        }])
    };
    let memory = |story: &mut Story| -> Vec<PointValue> {
        let snapshot = story.replay.read().into_snapshot();
        let families = snapshot.families.into_iter();
        let usage = families.filter(|family| family.metric == Metric::ProcessMemoryUsage);
        usage
            .flat_map(|family| family.points)
            .map(|point| point.value)
            .collect()
    };
    story.replay.take_in(Entry::Told(list()));
    assert_eq!(memory(&mut story), [PointValue::Int(4_096)]);
    story.exit(1, 7, 0);
    story.replay.take_in(Entry::Told(list()));
    assert_eq!(memory(&mut story), [PointValue::Int(0)]);
}
