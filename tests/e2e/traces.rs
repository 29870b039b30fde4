//! Spans of processes and of connections that went wrong.

use serde_json::Value;

use crate::support::{
    Agent, Container, Need, Program, Programs, Receiver, attribute, ready, refused, text, until,
};

#[test]
fn processes_make_a_tree() {
    if !ready(&[Need::Python, Need::Cgroups]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_spans_to(&receiver, "http/protobuf")
        .start();
    let programs = Programs::new();
    let (root, well, ill, killed) = (
        programs.link("/bin/sh", "root"),
        programs.link("/bin/true", "true"),
        programs.link("/bin/sh", "ill"),
        programs.link("/bin/sh", "killed"),
    );
    // One child fails and has a child of its own.
    let script = r#""$1"; "$2" -c '"$0"; exit 3' "$1"; "$3" -c 'kill -9 $$'; exit 0"#;
    let path = |program: &Program| program.path.to_str().expect("UTF-8").to_owned();
    // In a container, where nobody that the agent found is above them.
    let container = Container::new();
    let arguments = ["-c", script, "sh"];
    let programs = [path(&well), path(&ill), path(&killed)];
    let mut command = container.command(&root.path);
    let status = command.args(arguments).args(programs).status();
    assert!(status.expect("it runs").success());

    let spans = until("five spans", || {
        let spans: Vec<Value> = receiver.spans();
        let named = |program: &Program| -> Vec<Value> {
            let ours = spans
                .iter()
                .filter(|span| text(span, "name") == program.name);
            ours.cloned().collect()
        };
        let found = [named(&root), named(&well), named(&ill), named(&killed)];
        (found.iter().map(Vec::len).sum::<usize>() == 5).then_some(found)
    });
    let [roots, wells, ills, killeds] = &spans;
    let (root, ill, killed) = (&roots[0], &ills[0], &killeds[0]);
    let child_of = |parent: &Value| {
        let id = text(parent, "span_id").to_owned();
        let children = wells
            .iter()
            .filter(|span| text(span, "parent_span_id") == id);
        children.count()
    };
    assert_eq!(text(root, "parent_span_id"), "");
    assert_eq!((child_of(root), child_of(ill)), (1, 1), "{spans:#?}");
    for child in [ill, killed] {
        assert_eq!(text(child, "parent_span_id"), text(root, "span_id"));
    }
    for span in spans.iter().flatten() {
        check_span(span, root);
    }
    let outcome = |span: &Value| {
        let code = attribute(span, "process.exit.code").clone();
        (text(&span["status"], "code").to_owned(), code)
    };
    assert_eq!(outcome(root), ("UNSET".to_owned(), 0.into()));
    assert_eq!(outcome(ill), ("ERROR".to_owned(), 3.into()));
    assert_eq!(outcome(killed), ("ERROR".to_owned(), Value::Null));
    assert_eq!(attribute(ill, "error.type"), "3");
    assert_eq!(attribute(killed, "error.type"), "SIGKILL");
    assert_eq!(attribute(killed, "wellhead.process.signal"), "SIGKILL");
    let pid = agent.pid();
    drop(agent);
    let spans = receiver.spans();
    let own = spans
        .iter()
        .filter(|span| *attribute(span, "process.pid") == pid);
    assert_eq!(own.count(), 0, "the agent's own work makes no spans");
}

/// What holds for every span of the tree below `root`.
fn check_span(span: &Value, root: &Value) {
    assert_eq!(text(span, "kind"), "INTERNAL");
    assert_eq!(text(span, "trace_id"), text(root, "trace_id"));
    assert_eq!(
        (text(span, "trace_id").len(), text(span, "span_id").len()),
        (32, 16)
    );
    let time = |span: &Value, key: &str| span[key].as_u64().expect("a time");
    let (start, end) = ("start_time_unix_nano", "end_time_unix_nano");
    let ordered = [
        time(root, start),
        time(span, start),
        time(span, end),
        time(root, end),
    ];
    assert!(ordered.is_sorted(), "{ordered:?} {span}");
    assert_eq!(
        attribute(span, "process.executable.name"),
        text(span, "name")
    );
    assert!(attribute(span, "process.pid").is_u64());
}

#[test]
fn a_refused_connection_belongs_to_its_process() {
    if !ready(&[Need::Python, Need::Program("bash")]) {
        return;
    }
    let receiver = Receiver::start();
    let _agent = Agent::builder()
        .export_spans_to(&receiver, "grpc")
        .set("traces.tcp", "on")
        .start();
    let programs = Programs::new();
    let bash = programs.link("/bin/bash", "bash");
    let closed = refused(0);
    let script = "exec 3<>/dev/tcp/127.0.0.1/$0";
    let status = bash
        .command(&["-c", script, &closed.port])
        .output()
        .expect("bash")
        .status;
    assert_eq!(status.code(), Some(1));

    let port: u16 = closed.port.parse().expect("a port");
    let (process, connection) = until("both spans", || {
        let spans = receiver.spans();
        let process = spans.iter().find(|span| text(span, "name") == bash.name)?;
        let connection = spans
            .iter()
            .find(|span| attribute(span, "network.peer.port") == port)?;
        Some((process.clone(), connection.clone()))
    });
    assert_eq!(text(&connection, "name"), "tcp connect");
    assert_eq!(text(&connection, "kind"), "CLIENT");
    assert_eq!(text(&connection["status"], "code"), "ERROR");
    assert_eq!(attribute(&connection, "error.type"), "connection_refused");
    assert_eq!(attribute(&connection, "wellhead.tcp.verdict"), "peer");
    assert_eq!(attribute(&connection, "wellhead.drop.reason"), "NO_SOCKET");
    assert_eq!(attribute(&connection, "network.peer.address"), "127.0.0.1");
    assert_eq!(attribute(&connection, "network.transport"), "tcp");
    assert_eq!(
        attribute(&connection, "process.pid"),
        attribute(&process, "process.pid")
    );
    assert_eq!(text(&connection, "trace_id"), text(&process, "trace_id"));
    assert_eq!(
        text(&connection, "parent_span_id"),
        text(&process, "span_id")
    );
    assert_eq!(connection["resource"], process["resource"]);
}
