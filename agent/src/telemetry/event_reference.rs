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
the last part alone (`close`). Events are not exported over OTLP in this version.

The order of lines is not quite the order of events: processes and connections are read one after the other, so a
process's exit may come before its last connection's close, and what waits for its pod's metadata comes later.
`time_unix_nano` is when it happened in the kernel. What the agent itself sends and receives is counted in metrics, but
makes no events and no spans.
";

const SPANS_INTRODUCTION: &str = "
Spans are exported over OTLP where [`traces.process` and `traces.tcp`](configuration.md#traces) ask for them and traces
have an endpoint. All spans of one container's or slice's process tree share a trace, whose root is the first process that
executed a program there while the agent watched. Ids are derived from the machine's boot id and the process: the same
process has the same span id whichever agent tells of it.
";

/// The text of `docs/events.md`.
pub fn events_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    tellings(&mut page, "Events", "", EVENTS);
    tellings(&mut page, "Spans", SPANS_INTRODUCTION, SPANS);
    page.push_str("\n## Attributes\n\n| Attribute | Type | Meaning |\n|---|---|---|\n");
    for attribute in EVENT_ATTRIBUTES {
        let (key, kind, meaning) = (attribute.key, attribute.kind, attribute.meaning);
        // Writing to a String cannot fail.
        _ = writeln!(page, "| `{key}` | {kind} | {meaning} |");
    }
    page
}

fn tellings(page: &mut String, title: &str, introduction: &str, tellings: &[Telling]) {
    _ = write!(
        page,
        "\n## {title}\n{introduction}\n| Name | Meaning | Always has | May have |\n|---|---|---|---|\n"
    );
    for telling in tellings {
        let (name, meaning) = (telling.name, telling.meaning);
        let (always, sometimes) = (keys(telling.always), keys(telling.sometimes));
        _ = writeln!(page, "| `{name}` | {meaning} | {always} | {sometimes} |");
    }
}

fn keys(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
