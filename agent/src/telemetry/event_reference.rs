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
[identity.md](identity.md).

The order of lines is not quite the order of events: processes and connections are read one after the other, so a
process's exit may come before its last connection's close, and what waits for its pod's metadata comes later.
`time_unix_nano` is when it happened in the kernel. What the agent itself sends and receives is counted in metrics, but
makes no events and no spans.

## Which events are printed

All, or those for which everything that is asked for holds:

| flag | events |
|---|---|
| `--kind KIND` | of this kind: the whole name (`wellhead.tcp.close`), the name without its first part (`tcp.close`) or its last part alone (`close`); may be repeated |
| `--namespace NS` | of pods in this namespace; `*` stands for any run of characters, as in [`kubernetes.namespaces`](configuration.md#kubernetesnamespaces) |
| `--pod NS/NAME` | of this pod |
| `--executable NAME` | with this `process.executable.name`; `*` stands for any run of characters, and everything else for itself: there is a program called `[`. Forks and look-ups of names do not have the attribute |
| `--exit STATUS` | `process.exit` alone, of this kind: `failed` (a code other than 0, or a signal), a code from 0 to 255, or a signal (`SIGKILL`, `KILL`; a real-time signal as `SIG34`). `9` is a code |

A value that nothing can have ends the command with exit code 64 and says what is allowed. On the agent's socket the same are the parameters
`kind` (with commas between kinds), `namespace`, `pod`, `executable` and `exit` of `/api/v1/events`, percent-encoded; a parameter that the agent does not know
is refused (400), never left out of account. Whoever reads too slowly misses events (the discard `subscriber_slow`).

## Lines for people

`--output columns` prints the time of the local time zone, the kind, whose event it is (namespace, pod and container; a container's id; or a slice of the host and the
service in it, `host` outside of all), the program with its process id, and the rest in short, last the arguments:

```text
2026-11-22T21:28:46.718+01:00  process.exec  shop/web-6d4cf56db6-x7k2p/web  sh[17794]     parent=17790 user=1000 path=/bin/sh args: sh -c \"exit 3\"
2026-11-22T21:28:46.719+01:00  process.exit  shop/web-6d4cf56db6-x7k2p/web  sh[17794]     exit=3 took=857us parent=17790 user=1000
2026-11-22T21:28:46.981+01:00  tcp.close     shop/web-6d4cf56db6-x7k2p/web  curl[17801]   peer=10.96.0.7:443 local=10.244.1.9:46342 sent=412B received=68.3KiB rtt=240us rtt_min=201us took=31.2ms
2026-11-22T21:28:47.019+01:00  process.exit  system.slice/backup            rsync[17733]  signal=SIGKILL took=2h14m parent=1 user=0
```

`took` is `wellhead.duration`; units are of 1,000 (times) and 1,024 (bytes), rounded down. Attributes without a short name have their own, without `wellhead.`.
`path` is left out where the first argument says the same. Programs should read the JSON.

Names, arguments and whatever else comes from outside cannot do anything to a terminal in either form: control characters, and characters that are not
seen or turn the direction of text, are written out, as `\\u001b` in JSON, which means the same there, and as `\\u{1b}` or `\\n` in columns. There a word with spaces
in it is in quotes, and a backslash is doubled.

## Which events are exported

With [`events.export`](configuration.md#events) events are exported over OTLP too, all of them or some kinds (`events.kinds`): as log records with the
event's name as `event_name`, its severity, the same attributes and no body. The filters above have no part in that.

A workload that starts a thousand processes a second would fill everybody's logs. So each exports `events.rate_limit` events a second on average, 100 if nothing else is set,
and ten seconds' worth at once. A workload is what a pod belongs to (namespace, kind and name), elsewhere a service (`service.name`, or the instance where that is `unknown_service`).
Events with severity WARN or ERROR have an allowance of their own of the same size, so that others do not crowd them out. What is beyond is not exported and counted as a
discard (`policy`, `event_rate`), with one line in the log when that begins. Metrics count everything all the same, and `wellhead events` prints everything: its subscribers are not limited by it.
The limit goes by the times of events, so that a [recording](recordings.md) gives the same each time it is replayed.
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
