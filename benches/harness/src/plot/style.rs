//! What all plots have in common: sizes, colours, fonts, axes, the legend.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::settings::OURS;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub const SIZE: (u32, u32) = (960, 540);
pub const TEXT: RGBColor = RGBColor(36, 41, 47);
pub const FAINT: RGBColor = RGBColor(101, 109, 118);
pub const GRID: RGBColor = RGBColor(225, 228, 232);

/// Told apart by people who see few colours too, and on paper by their lightness.
pub fn color(operator: &str) -> RGBColor {
    match operator {
        OURS => RGBColor(0, 114, 178),
        "controller-runtime" => RGBColor(213, 94, 0),
        "controller-runtime-tuned" => RGBColor(200, 145, 0),
        _ => RGBColor(95, 60, 140),
    }
}

pub fn title(operator: &str) -> &str {
    if operator == OURS { "this operator" } else { operator }
}

pub fn width(operator: &str) -> u32 {
    if operator == OURS { 3 } else { 2 }
}

pub fn font(size: u32) -> FontDesc<'static> {
    FontDesc::new(FontFamily::SansSerif, f64::from(size), FontStyle::Normal)
}

pub fn text(size: u32, color: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    TextStyle { font: font(size), color: color.to_backend_color(), pos: Pos::new(horizontal, vertical) }
}

/// Draws on a white page with a title and a line below it; the SVG's text.
pub fn page(title: &str, subtitle: &str, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        root.draw(&Text::new(title.to_owned(), (24, 16), text(22, TEXT, HPos::Left, VPos::Top))).map_err(drawing)?;
        root.draw(&Text::new(subtitle.to_owned(), (24, 46), text(14, FAINT, HPos::Left, VPos::Top)))
            .map_err(drawing)?;
        draw(&root.margin(72, 8, 8, 24))?;
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

/// One entry an operator, in a row from the left, in pixels of the area.
pub fn legend(area: &Area<'_>, operators: &[&str]) -> Result<()> {
    let mut left = 84;
    for operator in operators {
        let stroke = ShapeStyle::from(color(operator)).stroke_width(width(operator) + 1);
        area.draw(&PathElement::new(vec![(left, 10), (left + 26, 10)], stroke)).map_err(drawing)?;
        let label = Text::new(title(operator).to_owned(), (left + 32, 10), text(14, TEXT, HPos::Left, VPos::Center));
        area.draw(&label).map_err(drawing)?;
        left += 56 + 8 * i32::try_from(title(operator).len()).unwrap_or(0);
    }
    Ok(())
}

/// Megabytes as few digits as tell them apart.
pub fn megabytes(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 { format!("{value:.0} MB") } else { format!("{value} MB") }
}

/// A logarithmic axis around some samples, from one round value to another, with its labels.
#[derive(Debug, PartialEq)]
pub struct LogAxis {
    pub least: f64,
    pub most: f64,
    pub marks: Vec<f64>,
}

impl LogAxis {
    /// At least of one power of ten, so that noise does not look like a mountain. None for no samples.
    pub fn around(values: impl Iterator<Item = f64>) -> Option<LogAxis> {
        let (least, most) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        let grid: Vec<f64> = (-4..7).flat_map(|power| [1.0, 2.0, 5.0].map(|step| round(step, power))).collect();
        let begin = grid.iter().rposition(|mark| *mark < least)?;
        let end = grid.iter().position(|mark| *mark > most)?.max(begin + 3);
        let marks = grid.get(begin..=end)?.to_vec();
        Some(LogAxis { least: marks[0], most: *marks.last()?, marks })
    }
}

/// step * 10^power, without what powers of a tenth leave behind the last digit.
fn round(step: f64, power: i32) -> f64 {
    if power < 0 { step / 10_f64.powi(-power) } else { step * 10_f64.powi(power) }
}

pub fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_begins_and_ends_at_round_values() {
        let axis = LogAxis::around([3.6, 355.0].into_iter()).expect("an axis");
        assert_eq!((axis.least, axis.most), (2.0, 500.0));
        assert_eq!(axis.marks, [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        let flat = LogAxis::around([3.6].into_iter()).expect("an axis");
        assert_eq!(flat.marks, [2.0, 5.0, 10.0, 20.0]);
        assert_eq!(LogAxis::around([0.0].into_iter()), None);
    }
}
