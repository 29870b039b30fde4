//! The reference of events and spans, `docs/events.md`, written from the catalogue.

use std::fmt::Write as _;

use super::catalogue::{EVENT_ATTRIBUTES, EVENTS, SPAN_EVENTS, SPANS, Telling};

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

Those of the agent that runs here; where none does (or it has another `runtime_directory`), the command captures with programs of its own, under the
configuration that it is given, and says so. All, or those for which everything that is asked for holds:

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
2026-11-22T21:28:46.718+01:00  process.exec  shop/web-6d4cf56db6-x7k2p/web  sh[17794]     parent=17790 user=1000 cwd=/srv ancestors=node[17790] path=/bin/sh args: sh -c \"exit 3\"
2026-11-22T21:28:46.719+01:00  process.exit  shop/web-6d4cf56db6-x7k2p/web  sh[17794]     exit=3 took=857us parent=17790 user=1000 cpu.user=770us memory.peak=1.07MiB
2026-11-22T21:28:46.981+01:00  tcp.close     shop/web-6d4cf56db6-x7k2p/web  curl[17801]   peer=10.96.0.7:443 local=10.244.1.9:46342 sent=412B received=68.3KiB rtt=240us rtt_min=201us took=31.2ms
2026-11-22T21:28:47.019+01:00  process.exit  system.slice/backup            rsync[17733]  signal=SIGKILL took=2h14m parent=1 user=0 cpu.user=1m04s cpu.system=12.7s memory.peak=48.2MiB disk.read=18.3GiB network.sent=18.2GiB
```

`took` is `wellhead.duration`; units are of 1,000 (times) and 1,024 (bytes), rounded down. Attributes without a short name have their own, without `wellhead.`. What is 0, ids that are the same twice, faults, switches and the
group are in JSON alone.
`path` is left out where the first argument says the same. Arguments that were cut end in ` …`; where there was no time to look for secrets in them, `process.command_args.withheld` stands in
their place. Programs should read the JSON. All that a script has started, with the programs' process ids:

```sh
wellhead events --kind process.exec | jq -c '.attributes | select(any(.\"wellhead.process.ancestors\"[]?; startswith(\"deploy.sh[\"))) | [.\"process.pid\", .\"process.command_args\"]'
```

Names, arguments and whatever else comes from outside cannot do anything to a terminal in either form: control characters, and characters that are not
seen or turn the direction of text, are written out, as `\\u001b` in JSON, which means the same there, and as `\\u{1b}` or `\\n` in columns. There a word with spaces
in it is in quotes, and a backslash is doubled.

## Which events are exported

With [`events.export`](configuration.md#events) events are exported over OTLP too, all of them or some kinds (`events.kinds`): as log records with the
event's name as `event_name`, its severity, the same attributes and no body. The filters above have no part in that.

A workload that starts a thousand processes a second would fill everybody's logs. So each exports `events.rate_limit` events a second on average, 100 if nothing else is set,
and ten seconds' worth at once. A workload is what a pod belongs to (namespace, kind and name), elsewhere a service (`service.name`, or the instance where that is `unknown_service`: on a host without units that is all of it).
Events with severity WARN or ERROR have an allowance of their own of the same size, so that others do not crowd them out. What is beyond is not exported and counted as a
discard (`policy`, `event_rate`), with one line in the log when that begins. Metrics count everything all the same, and `wellhead events` prints everything: its subscribers are not limited by it.

To look for secrets in [arguments](redaction.md) takes time. So it is done for 256 KiB of them a second on average, and ten seconds' worth at once, on the whole node: once for what is exported, and once for
who watches. Beyond, events go without arguments, and say so (`wellhead.process.command_args.withheld`; discard `policy`, `argument_rate`).
Both go by the times of events, so that a [recording](recordings.md) gives the same each time it is replayed. Where the clock is set back by less than
40 seconds, nothing is added to an allowance for as long.
";

const SPANS_INTRODUCTION: &str = "
Spans are exported over OTLP where [`traces.process` and `traces.tcp`](configuration.md#traces) ask for them and traces
have an endpoint. All spans of one container's or slice's process tree share a trace, whose root is the first process of the line that is known to have
executed a program there; one older than the agent counts, too. A span is exported when its process ends: below a shell or a service that goes on, a viewer lacks the parent until then. Spans have no
arguments: those are in the event of the execution, which has the same process id. Ids are derived from the machine's boot id and the process: the same
process has the same span id whichever agent tells of it. An agent that is started anew goes on with the traces of all
processes whose ancestors are alive; what began and ended while no agent ran has a trace of its own, and who began before and ended then has no span. Spans have no severity: a failure is their status.
";

const SPAN_EVENTS_INTRODUCTION: &str = "
The span of a process has as events what happened to it. Of a process that only forked, its connections are told by the
span of the ancestor whose program it runs, which stands for it. One process in eight can have such events at the same
time; of others, signals alone are told.
";

const SAMPLING: &str = "
### Which spans are exported

All, unless [`traces.sampling`](configuration.md#tracessampling) says otherwise. Then spans of processes are exported

- of this share of traces (`traces.sampling.process`), which is decided by the last 56 bits of the trace id, so that whoever else goes
  by OpenTelemetry's consistent probability sampling decides alike;
- of each process that failed (a code other than 0, or a signal), was chosen to be killed for lack of memory, or ran for `traces.sampling.slow_process`,
  whatever its trace;
- of all processes that such a process, or a connection that has a span, descends from. One that ended before that, without a span, is left out of the line: the next above
  it is the parent. So every span's parent is exported as well, or it has none.

Spans of connections and of containers that start are never left out. What is left out counts as the discard `policy`, `span_sampling`, and is
not missing from metrics, which count everything.

`tracestate` says what a span stands for: `ot=th:…`, with the threshold that the random part of the trace id has to reach, in hexadecimal
digits without zeros at the end. A span that is there because its trace is sampled has that of the share: with a quarter of all traces `ot=th:c`, and stands for four. A
span that would be there whatever its trace id (the second and third kind above, and all connections and starts) has `ot=th:0` and stands for itself, also where its trace is
sampled. So, counted by what they stand for, there are as many spans of each kind as there would be without sampling, on average.

An agent that ends takes with it which processes it meant to export for the sake of others: after a restart a parent can be missing that the
earlier agent had told of. So it can where records were lost.
";

/// The text of `docs/events.md`.
pub fn events_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Events\n");
    tellings(&mut page, EVENTS);
    page.push_str("\n## Spans\n");
    page.push_str(SPANS_INTRODUCTION);
    tellings(&mut page, SPANS);
    page.push_str(SPAN_EVENTS_INTRODUCTION);
    tellings(&mut page, SPAN_EVENTS);
    page.push_str(SAMPLING);
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
