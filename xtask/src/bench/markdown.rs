//! `docs/performance.md`, and the same tables for a terminal.

use super::pages::DIRECTORY;
use super::report::{Cell, Item, Measured, Plot, Report, Table};
use super::{Part, numbers};

const HEAD: &str = "<!-- Generated: cargo xtask bench -->\n\n\
    # Performance\n\n\
    What Wellhead costs and how much it can take, measured by `cargo xtask bench`, which needs root and writes this page anew. The numbers\n\
    are those of the machine named below. What carries over to others are the ratios: what is compared ran in turns, round after round,\n\
    on the same machine.\n";

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = vec![format!("{HEAD}\n{}", machine(report))];
    page.extend(goals(report));
    for part in &report.parts {
        page.push(format!("\n## {}\n", heading(part.name)));
        page.push(items(part, &image));
    }
    page.concat()
}

/// What a terminal shows: plots are the tables of their points.
pub(super) fn text(report: &Report) -> String {
    let mut text = Vec::new();
    for part in &report.parts {
        let (heading, took) = (heading(part.name), duration(part.seconds));
        text.push(format!("\n## {heading} ({took})\n"));
        text.push(items(part, &points));
    }
    text.extend(goals(report));
    text.concat()
}

fn heading(part: Part) -> &'static str {
    match part {
        Part::Userspace => "What a record costs in user space",
        Part::Kernel => "What the programs cost in the kernel",
        Part::Apps => "What applications notice, beside others",
        Part::Capacity => "How much it can take",
    }
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let parts = report.parts.iter().map(|part| {
        let name = part.name.name();
        format!("{name} {}", duration(part.seconds))
    });
    let parts: Vec<String> = parts.collect();
    let memory = numbers::grouped(&(machine.memory_bytes >> 20).to_string());
    let rows = [
        ("processor", machine.cpu.clone()),
        ("processors", machine.cpus.to_string()),
        ("memory", format!("{memory} MiB")),
        ("kernel", machine.kernel.clone()),
        ("Wellhead", report.version.clone()),
        ("taken on", report.taken.clone()),
        (
            "the run took",
            format!("{} ({})", duration(report.seconds), parts.join(", ")),
        ),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    table(&["machine".to_owned(), String::new()], &rows)
}

/// Of all parts; `None` where there are none.
fn goals(report: &Report) -> Option<String> {
    let rows: Vec<Vec<String>> = report
        .goals()
        .map(|goal| {
            let met = if goal.met { "yes" } else { "**no**" };
            let words = [&goal.name, &goal.limit, &goal.value].map(Clone::clone);
            words.into_iter().chain([met.to_owned()]).collect()
        })
        .collect();
    let columns = ["goal", "limit", "measured", "met"].map(str::to_owned);
    (!rows.is_empty()).then(|| format!("\n## Goals\n\n{}", table(&columns, &rows)))
}

fn items(part: &Measured, of_plot: &dyn Fn(&Plot) -> String) -> String {
    let mut page = String::new();
    let mut last_title = None;
    for item in &part.items {
        let (title, content, note) = match item {
            Item::Table(table) => (&table.title, cells(table), &table.note),
            Item::Plot(plot) => (&plot.title, of_plot(plot), &plot.note),
            // All goals are in one table, facts are for programs.
            Item::Goal(_) | Item::Fact(_) => continue,
        };
        // A plot of the table before it goes under the same heading.
        if last_title.replace(title) != Some(title) {
            page.extend(["\n### ", title, "\n"]);
        }
        page.extend(["\n", &content]);
        if let Some(note) = note.as_deref().filter(|note| !note.is_empty()) {
            page.extend(["\n", note, "\n"]);
        }
    }
    page
}

fn image(plot: &Plot) -> String {
    format!("![{}]({DIRECTORY}/{}.svg)\n", plot.title, plot.name)
}

/// A row for each place on the horizontal axis, a column for each line.
fn points(plot: &Plot) -> String {
    let all = plot.series.iter().flat_map(|series| &series.points);
    let mut places: Vec<f64> = all.map(|[x, _]| *x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let names = plot.series.iter().map(|series| series.name.clone());
    let columns: Vec<String> = [plot.x.label.clone()].into_iter().chain(names).collect();
    let rows = places.iter().map(|place| {
        let values = plot.series.iter().map(|series| {
            let mut points = series.points.iter();
            let found = points.find(|[x, _]| x.total_cmp(place).is_eq());
            found.map_or("–".to_owned(), |[_, y]| numbers::of(*y))
        });
        [numbers::of(*place)].into_iter().chain(values).collect()
    });
    table(&columns, &rows.collect::<Vec<_>>())
}

fn cells(table: &Table) -> String {
    let cell = |cell: &Cell| match cell {
        Cell::Number(number) => numbers::text(number),
        Cell::Text(text) => text.clone(),
    };
    let rows = table.rows.iter().map(|row| row.iter().map(cell).collect());
    self::table(&table.columns, &rows.collect::<Vec<_>>())
}

/// With columns as wide as what is in them, so that it can be read as it is.
fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let escape = |row: &[String]| row.iter().map(|cell| escaped(cell)).collect::<Vec<_>>();
    let head = escape(columns);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| escape(row)).collect();
    let shapes: Vec<(usize, bool)> = head
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let cells = || rows.iter().filter_map(|row| row.get(at));
            let width = cells().chain([name]).map(|cell| cell.chars().count());
            let is_numeric = !rows.is_empty() && cells().all(|cell| is_numeric(cell));
            (width.max().unwrap_or(0).max(3), is_numeric)
        })
        .collect();
    let row = |row: &Vec<String>| {
        let cells = row.iter().zip(&shapes);
        let cells = cells.map(|(cell, &(width, is_numeric))| {
            if is_numeric {
                format!(" {cell:>width$} |")
            } else {
                format!(" {cell:<width$} |")
            }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = shapes.iter().map(|&(width, is_numeric)| {
        let end = if is_numeric { ":" } else { "-" };
        format!(" {}{end} |", "-".repeat(width - 1))
    });
    let rule: String = rule.collect();
    let rows: String = rows.iter().map(row).collect();
    format!("{}|{rule}\n{rows}", row(&head))
}

/// Numbers, ranges of them, and what stands where there is none.
fn is_numeric(cell: &str) -> bool {
    !cell.chars().any(char::is_alphabetic)
}

/// A cell has one line, and ends at a bar.
fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    fn lines_are_in(text: &str, lines: &[&str]) {
        for line in lines {
            let has_it = text.lines().any(|known| known == *line);
            assert!(has_it, "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_page_has_all_but_the_facts() {
        let page = page(&report());
        lines_are_in(
            &page,
            &[
                "<!-- Generated: cargo xtask bench -->",
                "# Performance",
                "| processor    | Some CPU                          |",
                "| memory       | 3\u{202f}920 MiB                         |",
                "| the run took | 1 min 31 s (userspace 1 min 31 s) |",
                "| goal | limit      | measured | met    |",
                "| low  | at most 1  |        2 | **no** |",
                "| high | at least 1 |        2 | yes    |",
                "## What a record costs in user space",
                "### Records",
                "| what | ns each | half lie between |",
                "| ---- | ------: | ---------------: |",
                "| a\\|b |  12\u{202f}345 |      1.00 – 1.20 |",
                "| c    |    2.46 |                – |",
                "As it is.",
                "![Loss](performance/loss.svg)",
            ],
        );
        assert!(!page.contains("secret"), "{page}");
        assert!(!page.contains("\n\n\n"), "{page}");
    }

    #[test]
    fn a_plot_of_the_table_before_it_has_no_heading_of_its_own() {
        let mut report = report();
        for item in &mut report.parts[0].items {
            match item {
                Item::Table(table) => table.title = "Same".to_owned(),
                Item::Plot(plot) => plot.title = "Same".to_owned(),
                Item::Goal(_) | Item::Fact(_) => {}
            }
        }
        let page = page(&report);
        assert_eq!(page.matches("### Same").count(), 1, "{page}");
        assert!(page.contains("![Same](performance/loss.svg)"), "{page}");
    }

    #[test]
    fn a_terminal_shows_a_plot_as_a_table() {
        lines_are_in(
            &text(&report()),
            &[
                "## What a record costs in user space (1 min 31 s)",
                "|  rate |   one | two |",
                "| ----: | ----: | --: |",
                "|     1 | 0.500 |   – |",
                "| 1\u{202f}000 |     2 |   3 |",
            ],
        );
    }

    #[test]
    fn a_part_may_have_found_nothing() {
        let mut report = report();
        report.parts[0].items.clear();
        assert!(!page(&report).contains("## Goals"));
        assert!(page(&report).ends_with("## What a record costs in user space\n"));
    }

    #[test]
    fn a_column_is_numeric_if_all_of_it_is() {
        for (cell, expected) in [
            ("1\u{202f}000", true),
            ("0.97 – 1.02", true),
            ("–", true),
            ("", true),
            ("12 ns", false),
            ("a name", false),
        ] {
            assert_eq!(is_numeric(cell), expected, "{cell}");
        }
    }
}
