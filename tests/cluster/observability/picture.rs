//! docs/dashboard.svg: the panels at the places that the dashboard gives them, with the data of a run. It is not Grafana
//! that draws. Must know nothing of Prometheus.

use std::fmt::Write;

use serde_json::Value;

use super::dashboard::Line;

/// Pixels of one column and one row of Grafana's grid.
const COLUMN: f64 = 50.0;
const ROW: f64 = 24.0;
const GAP: f64 = 4.0;
/// Of a letter in a legend.
const LETTER: f64 = 6.2;
/// Grafana's own palette for lines that have no color.
const PALETTE: [&str; 12] = [
    "#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300",
    "#447ebc", "#c15c17",
];

struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// From `begun` to `ended`, in seconds since the epoch.
pub fn draw(dashboard: &Value, lines: &[Line], begun: f64, ended: f64) -> String {
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows = panels.iter().map(|panel| number(&panel["gridPos"]["y"]) + number(&panel["gridPos"]["h"]));
    let (width, height) = (24.0 * COLUMN, rows.fold(0.0, f64::max) * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"Helvetica,Arial,sans-serif\" font-size=\"11\" role=\"img\" aria-label=\"the dashboard\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#f4f5f5\"/>\n"
    );
    for panel in panels {
        let position = |name: &str| number(&panel["gridPos"][name]);
        let area = Area {
            left: position("x") * COLUMN + GAP,
            right: (position("x") + position("w")) * COLUMN - GAP,
            top: position("y") * ROW + GAP,
            bottom: (position("y") + position("h")) * ROW - GAP,
        };
        let lines: Vec<&Line> = lines.iter().filter(|line| Some(line.panel) == panel["id"].as_u64()).collect();
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\" fill=\"#fff\" stroke=\"#d8d9da\"/>",
            area.left,
            area.top,
            area.right - area.left,
            area.bottom - area.top
        );
        let title = panel["title"].as_str().expect("a title");
        text(
            &mut svg,
            area.left + 8.0,
            area.top + 18.0,
            "font-size=\"13\" font-weight=\"bold\" fill=\"#24292f\"",
            title,
        );
        if panel["type"] == "stat" {
            stat(&mut svg, panel, &area, &lines);
        } else {
            time_series(&mut svg, panel, &area, &lines, (begun, ended));
        }
    }
    svg + "</svg>\n"
}

fn stat(svg: &mut String, panel: &Value, area: &Area, lines: &[&Line]) {
    let defaults = &panel["fieldConfig"]["defaults"];
    let value = lines.iter().filter_map(|line| line.points.last()).map(|point| point.1).next_back().expect("a value");
    let steps = defaults["thresholds"]["steps"].as_array().expect("steps");
    let reached = steps.iter().rfind(|step| step["value"].as_f64().is_none_or(|least| value >= least)).expect("a step");
    let mapping = &defaults["mappings"][0]["options"][value.to_string()];
    let shown = mapping["text"].as_str().map_or_else(|| format(value, value, defaults), str::to_owned);
    let style = format!("font-size=\"28\" text-anchor=\"middle\" fill=\"{}\"", color(&reached["color"], 0));
    text(svg, f64::midpoint(area.left, area.right), area.bottom - 24.0, &style, &shown);
}

fn time_series(svg: &mut String, panel: &Value, area: &Area, lines: &[&Line], time: (f64, f64)) {
    let defaults = &panel["fieldConfig"]["defaults"];
    let custom = &defaults["custom"];
    let colors: Vec<String> =
        (0..).zip(lines).map(|(place, line)| color(&fixed_color(panel, &line.name), place)).collect();
    let is_stacked = custom["stacking"]["mode"] == "normal";
    let below = |place: usize, at: f64| {
        let points = lines[..place].iter().filter(|_| is_stacked).flat_map(|line| &line.points);
        points.filter(|point| (point.0 - at).abs() < 0.1).map(|point| point.1).sum::<f64>()
    };
    let stacked = |(place, line): (usize, &&Line)| {
        line.points.iter().map(|(at, value)| (*at, value + below(place, *at))).collect::<Vec<_>>()
    };
    let points: Vec<Vec<(f64, f64)>> = lines.iter().enumerate().map(stacked).collect();

    let floor = legend(svg, area, lines, &colors) - 20.0;
    let plot = Area { left: area.left + 70.0, right: area.right - 14.0, top: area.top + 32.0, bottom: floor };
    let most = points.iter().flatten().map(|point| point.1).fold(0.0, f64::max);
    let step = step(most, defaults);
    let top = ((most / step).ceil() * step).max(step);
    let x = |at: f64| plot.left + (at - time.0) / (time.1 - time.0) * (plot.right - plot.left);
    let y = |value: f64| plot.bottom - value / top * (plot.bottom - plot.top);
    let mut mark = 0.0;
    while mark <= top * 1.001 {
        let at = y(mark);
        let _ = writeln!(svg, "<path d=\"M{:.1} {at:.1}H{:.1}\" stroke=\"#e1e4e8\"/>", plot.left, plot.right);
        text(svg, plot.left - 6.0, at + 4.0, "text-anchor=\"end\" fill=\"#656d76\"", &format(mark, step, defaults));
        mark += step;
    }
    for seconds in (0..3600_u32).step_by(15).take_while(|seconds| f64::from(*seconds) <= time.1 - time.0) {
        let at = x(time.0 + f64::from(seconds));
        let clock = format!("{}:{:02}", seconds / 60, seconds % 60);
        text(svg, at, plot.bottom + 15.0, "text-anchor=\"middle\" fill=\"#656d76\"", &clock);
    }

    // The highest of a stack first: the others cover what is not its own. A second without a value interrupts.
    for (points, color) in points.iter().zip(&colors).rev() {
        for run in points.chunk_by(|before, after| after.0 - before.0 < 1.5) {
            let path = path(run, x, y, custom["lineInterpolation"] == "stepAfter");
            let _ = if is_stacked {
                writeln!(svg, "<path d=\"{path}V{floor:.1}H{:.1}Z\" fill=\"{color}\"/>", x(run[0].0))
            } else {
                writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>")
            };
        }
    }
}

/// In as many rows as it takes, from the bottom; returns where the first one begins.
fn legend(svg: &mut String, area: &Area, lines: &[&Line], colors: &[String]) -> f64 {
    let (mut places, mut left, mut row) = (Vec::new(), area.left + 10.0, 0.0);
    for line in lines {
        let width = 30.0 + line.name.chars().map(|_| LETTER).sum::<f64>();
        if left + width > area.right && left > area.left + 10.0 {
            (left, row) = (area.left + 10.0, row + 1.0);
        }
        places.push((left, row));
        left += width;
    }
    for ((line, color), (left, place)) in lines.iter().zip(colors).zip(places) {
        let at = area.bottom - 10.0 - (row - place) * 15.0;
        let _ =
            writeln!(svg, "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"14\" height=\"4\" fill=\"{color}\"/>", at - 6.0);
        text(svg, left + 18.0, at, "fill=\"#24292f\"", &line.name);
    }
    area.bottom - 10.0 - (row + 1.0) * 15.0
}

fn path(run: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64, is_step: bool) -> String {
    let mut path = format!("M{:.1} {:.1}", x(run[0].0), y(run[0].1));
    for (at, value) in &run[1..] {
        let _ = if is_step {
            write!(path, "H{:.1}V{:.1}", x(*at), y(*value))
        } else {
            write!(path, "L{:.1} {:.1}", x(*at), y(*value))
        };
    }
    path
}

fn fixed_color(panel: &Value, name: &str) -> Value {
    let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
    let mut of_this = overrides.filter(|entry| entry["matcher"]["options"] == name);
    of_this.next().map_or(Value::Null, |entry| entry["properties"][0]["value"]["fixedColor"].clone())
}

fn color(name: &Value, place: usize) -> String {
    let color = match name.as_str() {
        Some("green") => "#56a64b",
        Some("blue") => "#3274d9",
        Some("yellow") => "#f2cc0c",
        Some("orange") => "#ff780a",
        Some("red") => "#e02f44",
        Some("purple") => "#a352cc",
        Some("text") => "#24292f",
        Some(other) => panic!("no such color here: {other}"),
        None => PALETTE[place % PALETTE.len()],
    };
    color.to_owned()
}

/// The distance of the lines: 1, 2 or 5 of a power of ten, three to six of them; of bytes, in MiB.
fn step(most: f64, defaults: &Value) -> f64 {
    let unit = if defaults["unit"] == "bytes" { 1024.0 * 1024.0 } else { 1.0 };
    let least = if defaults["decimals"] == 0 { 1.0 } else { 0.0 };
    let power = 10_f64.powf((most.max(1e-3) / unit / 3.0).log10().floor());
    let fitting = [5.0, 2.0, 1.0].into_iter().map(|step| step * power).find(|step| step * 3.0 <= most.max(1e-3) / unit);
    fitting.unwrap_or(power).max(least) * unit
}

/// As Grafana shows the unit, with the digits that a difference of `step` needs.
fn format(value: f64, step: f64, defaults: &Value) -> String {
    let digits = |value: f64, step: f64| {
        let digits = [1.0, 0.1, 0.01].iter().position(|least| step >= *least).unwrap_or(3);
        format!("{value:.digits$}")
    };
    match defaults["unit"].as_str() {
        Some("bytes") => format!("{:.2} MiB", value / 1024.0 / 1024.0),
        Some("s") if value == 0.0 => "0 s".to_owned(),
        Some("s") if step < 1.0 => format!("{} ms", digits(value * 1e3, step * 1e3)),
        Some("s") if value % 60.0 == 0.0 => format!("{:.0} min", value / 60.0),
        Some("s") if value > 60.0 => format!("{:.1} min", value / 60.0),
        Some("s") => format!("{value:.0} s"),
        Some("ops") => format!("{} ops/s", digits(value, step)),
        Some("reqps") => format!("{} req/s", digits(value, step)),
        _ => digits(value, step),
    }
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>");
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
