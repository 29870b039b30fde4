//! Positions of the fields the classic programs read, found in tracefs: what [`super::offsets`] is to BTF.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use wellhead_common::{classic_fields, fields::ABSENT};

use super::tracepoint_format::{FormatField, parse};

/// Where tracefs is looked for: where it is mounted by itself, and below debugfs.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// In place.
    Number,
    /// Elsewhere in the record; the field tells where.
    Text,
    /// In place, on kernels that have it.
    Optional,
}

/// One row of the field table.
#[derive(Clone, Copy, Debug)]
struct Row {
    global: &'static str,
    shape: Shape,
    width: u32,
    category: &'static str,
    tracepoint: &'static str,
    field: &'static str,
}

macro_rules! declare_table {
    ($($name:ident: $shape:ident($width:literal), $category:literal, $tracepoint:literal, $field:literal;)+) => {
        const ROWS: &[Row] = &[
            $(Row {
                global: stringify!($name),
                shape: shape(stringify!($shape)),
                width: $width,
                category: $category,
                tracepoint: $tracepoint,
                field: $field,
            }),+
        ];
    };
}
classic_fields!(declare_table);

const fn shape(name: &str) -> Shape {
    match name.as_bytes() {
        b"text" => Shape::Text,
        b"optional" => Shape::Optional,
        _ => Shape::Number,
    }
}

/// What tracefs says of the tracepoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    /// `.rodata` global and its value.
    pub(crate) globals: Vec<(&'static str, u32)>,
    /// Tracepoints that cannot be used, and why.
    pub(crate) problems: HashMap<&'static str, String>,
}

impl Positions {
    /// Looks every field up.
    pub(crate) fn resolve() -> Self {
        let Some(tracefs) = find_tracefs() else {
            return Self::with(|_| {
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "tracefs is not mounted at /sys/kernel/tracing",
                ))
            });
        };
        Self::with(|row| {
            let path = tracefs.join("events").join(row.category);
            fs::read_to_string(path.join(row.tracepoint).join("format"))
        })
    }

    fn with(read: impl Fn(&Row) -> io::Result<String>) -> Self {
        let mut formats: HashMap<&str, io::Result<Vec<FormatField>>> = HashMap::new();
        let mut positions = Self::default();
        for row in ROWS {
            let format = formats
                .entry(row.tracepoint)
                .or_insert_with(|| read(row).map(|text| parse(&text)));
            let offset = match format {
                Ok(fields) => row.find(fields),
                Err(error) => Err(format!("{}:{}: {error}", row.category, row.tracepoint)),
            };
            let offset = offset.unwrap_or_else(|problem| {
                positions.problems.entry(row.tracepoint).or_insert(problem);
                ABSENT
            });
            positions.globals.push((row.global, offset));
        }
        positions
    }
}

impl Row {
    fn find(&self, fields: &[FormatField]) -> Result<u32, String> {
        let Self {
            category,
            tracepoint,
            field,
            ..
        } = self;
        let Some(found) = fields.iter().find(|found| found.name == *field) else {
            if self.shape == Shape::Optional {
                return Ok(ABSENT);
            }
            return Err(format!("{category}:{tracepoint} has no field {field}"));
        };
        if found.width != self.width || found.is_location != (self.shape == Shape::Text) {
            return Err(format!("{category}:{tracepoint}: {field} has another form"));
        }
        Ok(found.offset)
    }
}

/// Where tracefs is mounted and can be read.
pub(crate) fn find_tracefs() -> Option<PathBuf> {
    MOUNTS
        .into_iter()
        .map(Path::new)
        .find(|mount| mount.join("events").is_dir())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description of a tracepoint with every field the table asks for but one.
    fn described(row: &Row, without: &str) -> String {
        let rows = ROWS.iter().filter(|of| of.tracepoint == row.tracepoint);
        let rows = rows.filter(|row| row.field != without).enumerate();
        let lines = rows.map(|(number, row)| {
            let kind = if row.shape == Shape::Text {
                "__data_loc char[]"
            } else {
                "u64"
            };
            let (field, width, offset) = (row.field, row.width, 16 * number);
            format!("\tfield:{kind} {field};\toffset:{offset};\tsize:{width};\tsigned:0;\n")
        });
        lines.collect::<Vec<_>>().concat()
    }

    #[test]
    fn finds_every_field() {
        let positions = Positions::with(|row| Ok(described(row, "")));
        assert_eq!(positions.problems, HashMap::new());
        assert!(positions.globals.iter().all(|(_, at)| *at != ABSENT));
        assert_eq!(positions.globals.len(), ROWS.len());
    }

    #[test]
    fn a_missing_field_spoils_its_tracepoint_alone() {
        let positions = Positions::with(|row| Ok(described(row, "skaddr")));
        let problem = "sock:inet_sock_set_state has no field skaddr".to_owned();
        let expected = HashMap::from([("inet_sock_set_state", problem)]);
        assert_eq!(positions.problems, expected);
    }

    #[test]
    fn an_optional_field_may_be_missing() {
        let positions = Positions::with(|row| Ok(described(row, "group_dead")));
        assert_eq!(positions.problems, HashMap::new());
        let absent: Vec<_> = positions
            .globals
            .iter()
            .filter(|(_, at)| *at == ABSENT)
            .collect();
        assert_eq!(absent, [&("TP_EXIT_GROUP_DEAD", ABSENT)]);
    }

    #[test]
    fn another_form_is_not_taken() {
        let positions = Positions::with(|row| {
            Ok(described(row, "").replace("__data_loc char[] path", "u64 path"))
        });
        let mut spoilt: Vec<_> = positions.problems.keys().copied().collect();
        spoilt.sort_unstable();
        assert_eq!(spoilt, ["cgroup_mkdir", "cgroup_rmdir"]);
    }

    #[test]
    fn without_tracefs_nothing_can_be_used() {
        let positions = Positions::with(|_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(positions.problems.len(), 8);
        assert!(positions.globals.iter().all(|(_, at)| *at == ABSENT));
    }
}
