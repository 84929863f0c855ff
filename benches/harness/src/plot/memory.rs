//! Memory: over a round's time, and against the number of InferenceServices.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{self, FAINT, GRID, LogAxis, TEXT, drawing};
use crate::figures::whole;
use crate::results::{Round, Run};
use crate::stats::Summary;

const MEGABYTE: f64 = 1e6;

/// The first round of each operator, on a logarithmic axis: else the small ones lie on the ground.
pub fn over_time(run: &Run) -> Result<Option<String>> {
    let rounds: Vec<&Round> = run.operators().iter().filter_map(|operator| run.rounds_of(operator).next()).collect();
    let rounds: Vec<&Round> = rounds.into_iter().filter(|round| round.memory.len() > 1).collect();
    let samples = || rounds.iter().flat_map(|round| &round.memory);
    let values = samples().map(|sample| sample.rss_bytes as f64 / MEGABYTE);
    let Some(axis) = LogAxis::around(values) else { return Ok(None) };
    let end = samples().map(|sample| sample.seconds).fold(1.0, f64::max);
    let operators: Vec<&str> = rounds.iter().map(|round| round.operator.as_str()).collect();
    let title = format!("Resident memory over time, {} InferenceServices", whole(run.plan.crs as f64));
    let subtitle = "RSS, first round, logarithmic. Dots: start, create, settled, restart, changes, burst, foreign objects, bulky ones. Thin: not looked at";
    let subtitle = if run.plan.scale_points.is_empty() {
        subtitle
    } else {
        "RSS of the first round, growing and started again at each point; logarithmic"
    };
    style::page(&title, subtitle, |area| {
        style::legend(area, &operators)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(26)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(
                0.0..end / 60.0 * 1.02,
                (axis.least..axis.most).log_scale().with_key_points(axis.marks.clone()),
            )
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .label_style(style::font(13).color(&TEXT))
            .x_desc("minutes since the operator was started")
            .x_labels(12)
            .x_label_formatter(&|minutes: &f64| format!("{minutes}"))
            .y_labels(axis.marks.len())
            .y_label_formatter(&|value: &f64| style::megabytes(*value))
            .draw()
            .map_err(drawing)?;
        for round in &rounds {
            let color = style::color(&round.operator);
            let stroke = ShapeStyle::from(color).stroke_width(style::width(&round.operator));
            let curve = Curve::of(round);
            for points in curve.seen {
                chart.draw_series(LineSeries::new(points, stroke)).map_err(drawing)?;
            }
            for ends in curve.unseen {
                chart.draw_series(LineSeries::new(ends, ShapeStyle::from(color.mix(0.4)))).map_err(drawing)?;
            }
            let dots = round.phases.iter().filter_map(|phase| {
                let sample = round.memory.iter().find(|sample| sample.seconds >= phase.from_seconds)?;
                Some(Circle::new((sample.seconds / 60.0, sample.rss_bytes as f64 / MEGABYTE), 4, color.filled()))
            });
            chart.draw_series(dots).map_err(drawing)?;
        }
        Ok(())
    })
    .map(Some)
}

type Point = (f64, f64);

/// Samples as (minutes, megabytes).
#[derive(Default)]
struct Curve {
    seen: Vec<Vec<Point>>,
    /// From one end to the other of times in which nobody looked; not over a restart.
    unseen: Vec<[Point; 2]>,
}

impl Curve {
    fn of(round: &Round) -> Curve {
        const GAP_MINUTES: f64 = 4.0 / 60.0;
        let mut curve = Curve::default();
        let mut last: Option<Point> = None;
        for sample in &round.memory {
            let point = (sample.seconds / 60.0, sample.rss_bytes as f64 / MEGABYTE);
            let is_restarted = |before: f64| {
                let mut starts = round.phases.iter().filter(|span| span.name == "restart");
                starts.any(|span| before * 60.0 < span.from_seconds && sample.seconds >= span.from_seconds)
            };
            match last {
                Some(before) if !is_restarted(before.0) && point.0 - before.0 <= GAP_MINUTES => {}
                Some(before) if !is_restarted(before.0) => {
                    curve.unseen.push([before, point]);
                    curve.seen.push(Vec::new());
                }
                _ => curve.seen.push(Vec::new()),
            }
            if let Some(part) = curve.seen.last_mut() {
                part.push(point);
            }
            last = Some(point);
        }
        curve
    }
}

/// From the points of --scale, or else from the start and the settled phase.
pub fn by_count(run: &Run) -> Result<Option<String>> {
    let curves: Vec<(&str, Vec<(f64, f64)>)> = run
        .operators()
        .into_iter()
        .map(|operator| (operator, points(run, operator)))
        .filter(|(_, points)| points.len() > 1)
        .collect();
    let values = || curves.iter().flat_map(|(_, points)| points);
    let Some(axis) = LogAxis::around(values().map(|point| point.1)) else { return Ok(None) };
    let end = values().map(|point| point.0).fold(1.0, f64::max);
    let operators: Vec<&str> = curves.iter().map(|(operator, _)| *operator).collect();
    let has_scale = !run.plan.scale_points.is_empty();
    let subtitle = if has_scale {
        "RSS after a restart with all of them settled, replicas 0; logarithmic"
    } else {
        "RSS 10 s after the start with none, and settled with all of them; medians; logarithmic"
    };
    style::page("Resident memory against the number of InferenceServices", subtitle, |area| {
        style::legend(area, &operators)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(26)
            .margin_right(56)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(
                0.0..end * 1.02,
                (axis.least..axis.most).log_scale().with_key_points(axis.marks.clone()),
            )
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .label_style(style::font(13).color(&TEXT))
            .x_desc("InferenceServices, each with a Deployment and a Service")
            .x_labels(11)
            .x_label_formatter(&|count: &f64| whole(*count))
            .y_labels(axis.marks.len())
            .y_label_formatter(&|value: &f64| style::megabytes(*value))
            .draw()
            .map_err(drawing)?;
        for (operator, points) in &curves {
            let color = style::color(operator);
            let stroke = ShapeStyle::from(color).stroke_width(style::width(operator));
            chart.draw_series(LineSeries::new(points.clone(), stroke)).map_err(drawing)?;
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, color.filled()))).map_err(drawing)?;
        }
        for (operator, last, below) in ends(&curves, &axis) {
            let label = style::text(13, style::color(operator), HPos::Left, VPos::Center);
            let text = Text::new(short_megabytes(last.1), (8, below), label);
            chart.draw_series(std::iter::once(EmptyElement::at(last) + text)).map_err(drawing)?;
        }
        Ok(())
    })
    .map(Some)
}

/// The last point of each curve, and how many pixels below it there is room for its label.
fn ends<'a>(curves: &[(&'a str, Vec<Point>)], axis: &LogAxis) -> Vec<(&'a str, Point, i32)> {
    const HEIGHT: i32 = 390;
    const LINE: i32 = 16;
    let pixel = |value: f64| (f64::from(HEIGHT) * (axis.most / value).ln() / (axis.most / axis.least).ln()) as i32;
    let mut ends: Vec<(&str, Point)> =
        curves.iter().filter_map(|(operator, points)| Some((*operator, *points.last()?))).collect();
    ends.sort_by(|one, other| other.1.1.total_cmp(&one.1.1));
    let mut free = -LINE;
    let place = |(operator, last): (&'a str, Point)| {
        let at = pixel(last.1).max(free);
        free = at + LINE;
        (operator, last, at - pixel(last.1))
    };
    ends.into_iter().map(place).collect()
}

fn short_megabytes(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0} MB") } else { format!("{value:.1} MB") }
}

fn points(run: &Run, operator: &str) -> Vec<(f64, f64)> {
    let mut samples: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for round in run.rounds_of(operator) {
        for point in &round.scale {
            samples.entry(point.crs).or_default().push(point.restarted_rss_bytes as f64);
        }
        if round.scale.is_empty() {
            for (crs, key) in [(0, "start.rss_bytes"), (run.plan.crs, "settled.rss_bytes")] {
                samples.entry(crs).or_default().extend(round.figures.get(key));
            }
        }
    }
    let median = |(crs, samples): (usize, Vec<f64>)| Some((crs as f64, Summary::of(&samples)?.median / MEGABYTE));
    samples.into_iter().filter_map(median).collect()
}
