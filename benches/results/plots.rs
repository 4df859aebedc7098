//! Plots as SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::prelude::*;

/// Large enough to read in a README, whose column is narrower.
const SIZE: (u32, u32) = (860, 400);
const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 3] = [RGBColor(0, 102, 204), RGBColor(204, 102, 0), RGBColor(110, 110, 110)];

/// A line of points with its name.
pub struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, f64)>,
}

/// What the axes show.
pub struct Axes<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

type Done = Result<(), Box<dyn Error>>;

/// Draws `lines` over one another.
pub fn lines(path: &Path, axes: &Axes<'_>, lines: &[Line<'_>]) -> Done {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let mut chart = ChartBuilder::on(&root)
        .caption(axes.title, (FONT, 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(86)
        .build_cartesian_2d(up_to(points().map(|point| point.0)), up_to(points().map(|point| point.1)))?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(axes.x).y_desc(axes.y).max_light_lines(0);
    mesh.x_label_formatter(&|x| grouped(*x)).y_label_formatter(&|y| grouped(*y)).draw()?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let style = ShapeStyle::from(&colour).stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        drawn.label(line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    root.present()?;
    Ok(())
}

/// A figure with what it should reach at least.
pub struct Bar {
    pub name: String,
    pub value: f64,
    pub goal: f64,
}

/// Draws how far each figure is on the way to its goal, with a mark where the goal is.
pub fn bars(path: &Path, title: &str, bars: &[Bar]) -> Done {
    let root = SVGBackend::new(path, (SIZE.0, 70 + 34 * bars.len() as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let values = bars.iter().map(|bar| bar.value / bar.goal).chain([1.0]);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(24)
        .build_cartesian_2d(up_to(values), 0.0..bars.len() as f64)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().max_light_lines(0).draw()?;
    for (place, Bar { name, value, goal }) in bars.iter().enumerate() {
        let top = (bars.len() - place) as f64;
        let bar = [(0.0, top - 0.15), (value / goal, top - 0.85)];
        chart.draw_series([Rectangle::new(bar, COLOURS[0].mix(0.35).filled())])?;
        let text = format!("{name}: {value:.2}x, goal {goal}x");
        chart.draw_series([Text::new(text, (0.0, top - 0.32), (FONT, 14))])?;
    }
    let mark = vec![(1.0, 0.0), (1.0, bars.len() as f64)];
    chart.draw_series([PathElement::new(mark, COLOURS[1].stroke_width(2))])?;
    root.present()?;
    Ok(())
}

fn up_to(values: impl Iterator<Item = f64>) -> Range<f64> {
    let most = values.fold(0.0, f64::max);
    0.0..if most > 0.0 { most * 1.08 } else { 1.0 }
}

fn grouped(number: f64) -> String {
    if number >= 1e6 {
        format!("{:.1} M", number / 1e6)
    } else if number >= 1e3 {
        format!("{:.0} k", number / 1e3)
    } else {
        format!("{number:.0}")
    }
}
