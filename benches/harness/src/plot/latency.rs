//! The distribution of latencies: one at a time on the left, in a burst on the right.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{self, Area, FAINT, GRID, LogAxis, TEXT, drawing};
use crate::figures::{Unit, format};
use crate::results::Run;
use crate::stats;

/// What is quicker than the harness can see is drawn here.
const LEAST_MILLISECONDS: f64 = 0.5;

/// Pixels left of a panel's axis.
const LEFT: i32 = 56;

pub fn distribution(run: &Run) -> Result<Option<String>> {
    let operators = run.operators();
    let (one, burst) = (curves(run, &operators, "one"), curves(run, &operators, "burst"));
    if one.is_empty() && burst.is_empty() {
        return Ok(None);
    }
    let title = "From an accepted change of a spec to the Deployment's new generation";
    let subtitle = format!(
        "Part of {} changes that came through within a time, without controller-manager, seen from outside; all rounds; logarithmic",
        run.plan.changes
    );
    style::page(title, &subtitle, |area| {
        style::legend(area, &operators)?;
        let (left, right) = area.margin(26, 0, 0, 0).split_horizontally(464);
        panel(&left, "One at a time", &one)?;
        panel(&right, "In a burst", &burst)
    })
    .map(Some)
}

type Curve<'a> = (&'a str, Vec<f64>);

fn curves<'a>(run: &'a Run, operators: &[&'a str], kind: &str) -> Vec<Curve<'a>> {
    let samples = |operator: &&'a str| {
        let samples: Vec<f64> =
            run.rounds_of(operator).filter_map(|round| round.latencies.get(kind)).flatten().copied().collect();
        (*operator, samples)
    };
    operators.iter().map(samples).filter(|(_, samples)| !samples.is_empty()).collect()
}

fn panel(area: &Area<'_>, name: &str, curves: &[Curve<'_>]) -> Result<()> {
    let shown = |value: f64| value.max(LEAST_MILLISECONDS);
    let values = curves.iter().flat_map(|(_, samples)| samples).map(|value| shown(*value));
    let Some(axis) = LogAxis::around(values) else { return Ok(()) };
    let mut chart = ChartBuilder::on(area)
        .caption(name, style::font(16).color(&TEXT))
        .x_label_area_size(56)
        .y_label_area_size(LEFT)
        .build_cartesian_2d((axis.least..axis.most).log_scale().with_key_points(labelled(&axis)), 0.0..1.02)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .label_style(style::font(13).color(&TEXT))
        .x_labels(12)
        .x_label_formatter(&|value: &f64| {
            if *value >= 1_000.0 { format!("{} s", value / 1_000.0) } else { format!("{value} ms") }
        })
        .y_labels(6)
        .y_label_formatter(&|part: &f64| format!("{:.0} %", part * 100.0))
        .draw()
        .map_err(drawing)?;
    for (operator, samples) in curves {
        let color = style::color(operator);
        let stroke = ShapeStyle::from(color).stroke_width(style::width(operator));
        let points = stats::cumulative(samples).into_iter().map(|(value, part)| (shown(value), part));
        chart.draw_series(LineSeries::new(points, stroke)).map_err(drawing)?;
    }
    percentiles(area, curves)
}

/// The P99 of each, in a row below the axis, where no curve goes.
fn percentiles(area: &Area<'_>, curves: &[Curve<'_>]) -> Result<()> {
    let bottom = i32::try_from(area.dim_in_pixel().1)? - 10;
    let label = |text: String, left: i32, color| {
        area.draw(&Text::new(text, (left, bottom), style::text(13, color, HPos::Left, VPos::Center))).map_err(drawing)
    };
    label("P99".to_owned(), LEFT - 4, TEXT)?;
    let mut left = LEFT + 40;
    for (operator, samples) in curves {
        let Some(p99) = stats::percentile(samples, 99.0) else { continue };
        label(format(Unit::Milliseconds, p99), left, style::color(operator))?;
        left += 90;
    }
    Ok(())
}

/// As many of the marks as there is room for.
fn labelled(axis: &LogAxis) -> Vec<f64> {
    let is_power = |mark: &&f64| mark.log10().fract().abs() < 1e-9;
    if axis.marks.len() <= 7 { axis.marks.clone() } else { axis.marks.iter().filter(is_power).copied().collect() }
}
