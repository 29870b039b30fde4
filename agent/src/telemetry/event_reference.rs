//! The reference of events and spans, `docs/events.md`, written from the catalogue.

use std::fmt::Write as _;

use super::catalogue::{EVENT_ATTRIBUTES, EVENTS, SPANS, Telling};

const INTRODUCTION: &str = "\
# Events and spans

<!-- Generated from the code by `cargo xtask docs`; do not edit. -->

`wellhead events` prints events as they happen, one JSON object a line:

```json
{\"time_unix_nano\":1795379326719655532,\"name\":\"wellhead.process.exit\",\"resource\":{\"service.name\":\"backup\",\"host.name\":\"node-1\"},\"attributes\":{\"process.pid\":17794,\"process.executable.name\":\"sh\",\"process.exit.code\":3,\"wellhead.duration\":857470}}
```

(shortened). `resource` says whom the event belongs to, with the same attributes as the OTLP Resource of that container:
[identity.md](identity.md). `--kind` takes a name whole (`wellhead.tcp.close`), without its first part (`tcp.close`) or
the last part alone (`close`): of several kinds that end in it, the first below.

With [`events.export`](configuration.md#events) they are exported over OTLP too, all of them or some kinds: as log records with the
event's name as `event_name`, its severity, the same attributes and no body.

The order of lines is not quite the order of events: processes and connections are read one after the other, so a
process's exit may come before its last connection's close, and what waits for its pod's metadata comes later.
`time_unix_nano` is when it happened in the kernel. What the agent itself sends and receives is counted in metrics, but
makes no events and no spans.
";

const SPANS_INTRODUCTION: &str = "
Spans are exported over OTLP where [`traces.process` and `traces.tcp`](configuration.md#traces) ask for them and traces
have an endpoint. All spans of one container's or slice's process tree share a trace, whose root is the first process that
executed a program there while the agent watched. Ids are derived from the machine's boot id and the process: the same
process has the same span id whichever agent tells of it. Spans have no severity: a failure is their status.
";

/// The text of `docs/events.md`.
pub fn events_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Events\n");
    tellings(&mut page, EVENTS);
    page.push_str("\n## Spans\n");
    page.push_str(SPANS_INTRODUCTION);
    tellings(&mut page, SPANS);
    page.push_str("\n## Attributes\n\n| Attribute | Type | Meaning |\n|---|---|---|\n");
    for attribute in EVENT_ATTRIBUTES {
        let (key, kind, meaning) = (attribute.key, attribute.kind, attribute.meaning);
        // Writing to a String cannot fail.
        _ = writeln!(page, "| `{key}` | {kind} | {meaning} |");
    }
    page
}

fn tellings(page: &mut String, tellings: &[Telling]) {
    page.push_str(
        "\n| Name | Meaning | Severity | Always has | May have |\n|---|---|---|---|---|\n",
    );
    for telling in tellings {
        let (name, meaning, severity) = (telling.name, telling.meaning, telling.severity);
        let (always, sometimes) = (keys(telling.always), keys(telling.sometimes));
        _ = writeln!(
            page,
            "| `{name}` | {meaning} | {severity} | {always} | {sometimes} |"
        );
    }
}

fn keys(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
