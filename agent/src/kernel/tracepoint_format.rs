//! What a classic tracepoint's record looks like: `events/CATEGORY/NAME/format` below tracefs
//! (`Documentation/trace/events.rst`).

/// No record is longer (`PERF_MAX_TRACE_SIZE`, include/linux/trace_events.h).
const LONGEST_RECORD: u32 = 8192;

/// A field of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormatField {
    pub(crate) name: String,
    /// Bytes from the start of the record.
    pub(crate) offset: u32,
    /// Bytes it takes there.
    pub(crate) width: u32,
    /// It tells where in the record the value is (`__data_loc`).
    pub(crate) is_location: bool,
}

/// The fields a description names. Lines that are not as they should be are passed over: what they would have named is
/// then missing, and whoever needs it says so.
pub(crate) fn parse(text: &str) -> Vec<FormatField> {
    text.lines().filter_map(parse_line).collect()
}

/// `\tfield:unsigned char saddr[4];\toffset:32;\tsize:4;\tsigned:0;`
fn parse_line(line: &str) -> Option<FormatField> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let offset: u32 = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
    let width: u32 = parts.next()?.strip_prefix("size:")?.parse().ok()?;
    let end = offset.checked_add(width)?;
    let name = declaration.split_whitespace().next_back()?;
    let name = name.split('[').next()?.trim_start_matches('*');
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && end <= LONGEST_RECORD).then(|| FormatField {
        name: name.to_owned(),
        offset,
        width,
        is_location: declaration.starts_with("__data_loc "),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXEC: &str = "name: sched_process_exec
ID: 365
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;

print fmt: \"filename=%s pid=%d\", __get_str(filename), REC->pid
";

    #[test]
    fn reads_what_the_kernel_writes() {
        let fields = parse(EXEC);
        let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["common_type", "common_pid", "filename", "pid"]);
        let expected = FormatField {
            name: "filename".to_owned(),
            offset: 8,
            width: 4,
            is_location: true,
        };
        assert_eq!(fields[2], expected);
    }

    #[test]
    fn takes_every_kind_of_declaration() {
        let check = |declaration: &str, expected: Option<(&str, bool)>| {
            let line = format!("\tfield:{declaration};\toffset:8;\tsize:16;\tsigned:0;");
            let field = parse_line(&line);
            let found = field
                .as_ref()
                .map(|field| (field.name.as_str(), field.is_location));
            assert_eq!(found, expected, "{declaration}");
        };
        check("const void * skaddr", Some(("skaddr", false)));
        check("__u8 saddr_v6[16]", Some(("saddr_v6", false)));
        check("char *name", Some(("name", false)));
        check("__data_loc char[] path", Some(("path", true)));
        check("__rel_loc char[] path", Some(("path", false)));
        check("int", Some(("int", false)));
        check("", None);
        check("int a-b", None);
    }

    #[test]
    fn passes_over_what_is_wrong() {
        let check = |line: &str| assert_eq!(parse_line(line), None, "{line}");
        check("field:int pid;");
        check("field:int pid;\toffset:x;\tsize:4;");
        check("field:int pid;\toffset:-4;\tsize:4;");
        check("field:int pid;\toffset:4294967295;\tsize:4;");
        check("field:int pid;\toffset:8190;\tsize:4;");
        check("int pid;\toffset:8;\tsize:4;");
        check("field:int pid;\tsize:4;\toffset:8;");
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_stays_within_the_record(text in "(?s).{0,400}") {
            for field in parse(&text) {
                prop_assert!(field.offset + field.width <= LONGEST_RECORD);
            }
        }

        #[test]
        fn broken_descriptions_name_only_sound_fields(at in 0..EXEC.len(), with in "[ -~\\t\\n]{0,8}") {
            let mut text = EXEC.to_owned();
            text.insert_str(at, &with);
            for field in parse(&text) {
                prop_assert!(!field.name.is_empty());
                prop_assert!(field.offset + field.width <= LONGEST_RECORD);
            }
        }

        #[test]
        fn a_field_is_read_back(
            name in "[a-z_][a-z0-9_]{0,20}",
            offset in 0_u32..4096,
            width in 1_u32..4096,
            is_location: bool,
        ) {
            let kind = if is_location { "__data_loc char[]" } else { "unsigned long" };
            let line = format!("\tfield:{kind} {name};\toffset:{offset};\tsize:{width};\tsigned:0;\n");
            prop_assert_eq!(parse(&line), [FormatField { name, offset, width, is_location }]);
        }
    }
}
