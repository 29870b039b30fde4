//! Plots as SVG that needs nothing else: no script, no style sheet, no font of its own. The background is white, so that it
//! is the same on pages of any colour.

use super::report::{Axis, MAX_SERIES, Plot, Series};
use super::scale::{self, Scale};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;

// The rectangle between the axes; the legend is to its right.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 520.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 300.0;

/// How a line differs from the others, also without colours: each with dashes and a marker around a point.
struct Look {
    colour: &'static str,
    dashes: &'static str,
    marker: &'static str,
}

/// The colours can be told apart by people who see fewer.
const LOOKS: [Look; MAX_SERIES] = [
    Look {
        colour: "#0072b2",
        dashes: "",
        marker: "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    },
    Look {
        colour: "#d55e00",
        dashes: "7 3",
        marker: "m-3,-3h6v6h-6z",
    },
    Look {
        colour: "#009e73",
        dashes: "2 3",
        marker: "m0,-4l4,4l-4,4l-4,-4z",
    },
    Look {
        colour: "#cc79a7",
        dashes: "8 3 2 3",
        marker: "m0,-4l4,7h-8z",
    },
    Look {
        colour: "#e69f00",
        dashes: "14 3",
        marker: "m0,4l4,-7h-8z",
    },
    Look {
        colour: "#56b4e9",
        dashes: "4 2",
        marker: "m-4,-1h3v-3h2v3h3v2h-3v3h-2v-3h-3z",
    },
    Look {
        colour: "#000000",
        dashes: "1 2",
        marker: "m-4,-3l8,6v-6l-8,6z",
    },
    Look {
        colour: "#7f3c8d",
        dashes: "10 3 2 3 2 3",
        marker: "m-1.5,-4h3v8h-3z",
    },
];

/// The whole file.
pub(super) fn draw(plot: &Plot) -> String {
    let values = |at: usize| {
        let points = plot.series.iter().flat_map(|series| &series.points);
        points.map(move |point| point[at])
    };
    let x = Scale::of(&plot.x, values(0));
    let y = Scale::of(&plot.y, values(1));
    let title = escaped(&plot.title);
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#222222\">\n\
         <title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n"
    );
    let axes =
        format!("<path d=\"M{LEFT},{TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#222222\"/>\n");
    let mut svg = vec![head, horizontal(&plot.x, &x), vertical(&plot.y, &y), axes];
    let lines = || LOOKS.iter().zip(&plot.series);
    svg.extend(lines().map(|(look, series)| line(look, series, &x, &y)));
    svg.extend(
        (0_u8..)
            .zip(lines())
            .map(|(row, (look, series))| legend(row, look, &series.name)),
    );
    svg.push("</svg>\n".to_owned());
    svg.concat()
}

fn across(place: f64) -> f64 {
    LEFT + place * (RIGHT - LEFT)
}

fn up(place: f64) -> f64 {
    BOTTOM - place * (BOTTOM - TOP)
}

const GRID: &str = "stroke=\"#dddddd\"";

fn horizontal(axis: &Axis, scale: &Scale) -> String {
    let mut svg = Vec::new();
    for tick in &scale.ticks {
        let Some(x) = scale.place(tick.value).map(across) else {
            continue;
        };
        svg.push(format!("<path d=\"M{x:.1},{TOP}V{BOTTOM}\" {GRID}/>\n"));
        if tick.has_label {
            let (y, label) = (BOTTOM + 16.0, scale::label(tick.value));
            svg.push(format!(
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>\n"
            ));
        }
    }
    let (x, y, label) = (across(0.5), BOTTOM + 38.0, escaped(&axis.label));
    svg.push(format!(
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"12\">{label}</text>\n"
    ));
    svg.concat()
}

fn vertical(axis: &Axis, scale: &Scale) -> String {
    let mut svg = Vec::new();
    for tick in &scale.ticks {
        let Some(y) = scale.place(tick.value).map(up) else {
            continue;
        };
        svg.push(format!("<path d=\"M{LEFT},{y:.1}H{RIGHT}\" {GRID}/>\n"));
        if tick.has_label {
            let (x, y, label) = (LEFT - 6.0, y + 4.0, scale::label(tick.value));
            svg.push(format!(
                "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>\n"
            ));
        }
    }
    let (x, y, label) = (20.0, up(0.5), escaped(&axis.label));
    svg.push(format!(
        "<text transform=\"translate({x},{y}) rotate(-90)\" text-anchor=\"middle\" font-size=\"12\">{label}</text>\n"
    ));
    svg.concat()
}

/// Points that cannot be on an axis are left out.
fn line(look: &Look, series: &Series, x: &Scale, y: &Scale) -> String {
    let places: Vec<(f64, f64)> = series
        .points
        .iter()
        .filter_map(|point| Some((across(x.place(point[0])?), up(y.place(point[1])?))))
        .collect();
    let mut svg = Vec::new();
    if places.len() > 1 {
        let points = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}"));
        let points: Vec<String> = points.collect();
        svg.push(format!(
            "<polyline points=\"{}\" fill=\"none\" {}/>\n",
            points.join(" "),
            stroke(look)
        ));
    }
    for (x, y) in places {
        svg.push(marker(look, x, y));
    }
    svg.concat()
}

fn stroke(look: &Look) -> String {
    let Look { colour, dashes, .. } = look;
    let dashes = match *dashes {
        "" => String::new(),
        dashes => format!(" stroke-dasharray=\"{dashes}\""),
    };
    format!("stroke=\"{colour}\" stroke-width=\"1.8\"{dashes}")
}

fn marker(look: &Look, x: f64, y: f64) -> String {
    let Look { colour, marker, .. } = look;
    format!("<path d=\"M{x:.1},{y:.1}{marker}\" fill=\"{colour}\"/>\n")
}

fn legend(row: u8, look: &Look, name: &str) -> String {
    /// As many letters as there is room for.
    const ROOM: usize = 24;
    let (x, y) = (RIGHT + 16.0, TOP + 10.0 + 20.0 * f64::from(row));
    let shown = if name.chars().count() > ROOM {
        let begin: String = name.chars().take(ROOM - 1).collect();
        format!("{}…", begin.trim_end())
    } else {
        name.to_owned()
    };
    format!(
        "<g><title>{}</title><path d=\"M{x},{y}h28\" {}/>{}<text x=\"{}\" y=\"{}\">{}</text></g>\n",
        escaped(name),
        stroke(look),
        marker(look, x + 14.0, y).trim_end(),
        x + 34.0,
        y + 4.0,
        escaped(&shown)
    )
}

/// As text and attributes of XML have it, which knows hardly any control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(log: bool, series: &[(&str, &[[f64; 2]])]) -> Plot {
        let axis = |label: &str, zero| Axis {
            label: label.to_owned(),
            log,
            zero,
        };
        let series = series.iter().map(|(name, points)| Series {
            name: (*name).to_owned(),
            points: points.to_vec(),
        });
        Plot {
            name: "plot".to_owned(),
            title: "a < b & \"c\"".to_owned(),
            note: None,
            x: axis("across", false),
            y: axis("up", true),
            series: series.collect(),
        }
    }

    fn count(svg: &str, what: &str) -> usize {
        svg.matches(what).count()
    }

    #[test]
    fn lines_have_points_and_a_legend() {
        let svg = draw(&plot(
            false,
            &[
                ("one", &[[0.0, 0.0], [10.0, 100.0]]),
                ("two <", &[[0.0, 50.0], [5.0, 50.0], [10.0, 25.0]]),
            ],
        ));
        assert!(svg.contains("points=\"72.0,300.0 520.0,44.0\""), "{svg}");
        assert!(
            svg.contains("points=\"72.0,172.0 296.0,172.0 520.0,236.0\""),
            "{svg}"
        );
        // Each has one more marker in the legend.
        assert_eq!(count(&svg, LOOKS[0].marker), 3);
        assert_eq!(count(&svg, LOOKS[1].marker), 4);
        assert_eq!(count(&svg, LOOKS[1].dashes), 2);
        for text in [
            ">a &lt; b &amp; &quot;c&quot;</text>",
            ">two &lt;</text>",
            ">across</text>",
            ">up</text>",
            ">100</text>",
        ] {
            assert_eq!(count(&svg, text), 1, "{text} in\n{svg}");
        }
    }

    #[test]
    fn any_plot_can_be_drawn() {
        for (name, log, points, markers) in [
            ("no points", false, &[][..], 1),
            ("no points", true, &[], 1),
            ("one point", false, &[[3.0, 4.0]], 2),
            ("one point", true, &[[3.0, 4.0]], 2),
            ("equal values", false, &[[1.0, 7.0], [1.0, 7.0]], 3),
            ("zeros", false, &[[0.0, 0.0]], 2),
            ("zero on a log axis", true, &[[0.0, 1.0], [1.0, 0.0]], 1),
            ("negative values", false, &[[-1.0, -5.0], [1.0, 5.0]], 3),
        ] {
            let plot = plot(log, &[("only", points)]);
            let svg = draw(&plot);
            assert_eq!(count(&svg, LOOKS[0].marker), markers, "{name}: {svg}");
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{name}: {svg}"
            );
            assert_eq!(svg, draw(&plot));
        }
        assert!(draw(&plot(false, &[])).ends_with("</svg>\n"));
    }

    #[test]
    fn all_lines_look_different() {
        for (at, one) in LOOKS.iter().enumerate() {
            for other in &LOOKS[..at] {
                assert_ne!(one.colour, other.colour);
                assert_ne!(one.dashes, other.dashes);
                assert_ne!(one.marker, other.marker);
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_and_told_in_full() {
        let name = "a name that is longer than there is room for";
        let svg = draw(&plot(false, &[(name, &[])]));
        assert!(svg.contains(&format!("<title>{name}</title>")), "{svg}");
        assert!(svg.contains(">a name that is longer t…</text>"), "{svg}");
    }
}
