//! Plots over periods, as SVG that takes its colours from the page.

use super::escape;
use crate::{PeriodFacts, Summary, show};
use std::fmt::Write;
use std::ops::Range;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stroke {
    /// A coloured line, the n-th colour of the page.
    Solid(usize),
    /// A grey line, the n-th pattern of dashes.
    Dashed(usize),
    /// The best achievable.
    Ceiling,
}

impl Stroke {
    /// Number of colours in the style sheet.
    const COLOURS: usize = 8;
    const DASHES: [&str; 3] = ["7 4", "2 4", "9 3 2 3"];

    pub(super) fn attributes(self) -> String {
        let dashes = match self {
            Stroke::Solid(_) => String::new(),
            Stroke::Dashed(n) => format!(" stroke-dasharray=\"{}\"", Stroke::DASHES[n % Stroke::DASHES.len()]),
            Stroke::Ceiling => " stroke-dasharray=\"1 4\"".into(),
        };
        format!("fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linecap=\"round\"{dashes}", self.colour())
    }

    fn colour(self) -> String {
        match self {
            Stroke::Solid(n) => format!("var(--c{})", n % Stroke::COLOURS),
            Stroke::Dashed(_) => "var(--reference)".into(),
            Stroke::Ceiling => "var(--ceiling)".into(),
        }
    }
}

/// A value with the half width of its band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) value: f64,
    pub(super) spread: f64,
}

impl Point {
    pub(super) fn exact(value: f64) -> Point {
        Point { value, spread: 0.0 }
    }
}

impl From<Summary> for Point {
    fn from(summary: Summary) -> Point {
        Point { value: summary.mean, spread: summary.deviation.unwrap_or(0.0) }
    }
}

/// One line of a plot: a point per period, or a gap.
pub(super) struct Line {
    /// What the legend hides it by.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) stroke: Stroke,
    pub(super) points: Vec<Option<Point>>,
}

impl Line {
    pub(super) fn has_points(&self) -> bool {
        self.points.iter().any(Option::is_some)
    }

    /// From the lowest edge of the band to the highest.
    fn extent(&self) -> Range<f64> {
        let edges = self.points.iter().flatten().map(|point| point.value - point.spread..point.value + point.spread);
        edges.reduce(union).unwrap_or(f64::INFINITY..f64::NEG_INFINITY)
    }
}

fn union(a: Range<f64>, b: Range<f64>) -> Range<f64> {
    a.start.min(b.start)..a.end.max(b.end)
}

/// Lines over periods.
pub(super) struct Lines<'a> {
    pub(super) periods: &'a [PeriodFacts],
    pub(super) span: &'a Range<u32>,
    pub(super) lines: Vec<Line>,
    pub(super) from_zero: bool,
    pub(super) wide: bool,
    /// Decimals in tooltips.
    pub(super) digits: usize,
}

/// A reference may stretch the frame up to this many times what the other lines need; beyond, it is left outside, lest
/// it flatten what is to be seen.
const STRETCH: f64 = 1.6;

impl Lines<'_> {
    pub(super) fn svg(&self) -> String {
        let frame = Frame::new(self.periods, self.span, self.extent(), self.wide);
        let lines: String = self.lines.iter().map(|line| draw_line(line, &frame)).collect();
        let tip = |i: usize| {
            let mut values: Vec<(&Line, Point)> =
                self.lines.iter().filter_map(|line| Some((line, line.points[i]?))).collect();
            values.sort_by(|a, b| b.1.value.total_cmp(&a.1.value));
            let shown = |(line, point): &(&Line, Point)| {
                let spread =
                    if point.spread > 0.0 { format!(" ± {:.*}", self.digits, point.spread) } else { String::new() };
                format!("\n{}\t{:.*}{spread}", line.name, self.digits, point.value)
            };
            values.iter().map(shown).collect()
        };
        frame.svg(&lines, tip)
    }

    /// Lines that lie partly or wholly outside the frame, each with its mean.
    pub(super) fn beyond_frame(&self) -> Vec<String> {
        let frame = self.extent();
        let beyond = |line: &&Line| {
            let extent = line.extent();
            extent.start < frame.start || extent.end > frame.end
        };
        let describe = |line: &Line| {
            let values: Vec<f64> = line.points.iter().flatten().map(|point| point.value).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            format!("{} (mean {})", line.name, format!("{mean:.*}", self.digits).replace('-', "−"))
        };
        self.lines.iter().filter(beyond).map(describe).collect()
    }

    fn extent(&self) -> Range<f64> {
        let reference = |line: &&Line| matches!(line.stroke, Stroke::Dashed(_));
        let core = self.lines.iter().filter(|line| !reference(line)).map(Line::extent).reduce(union);
        let mut extent = match &core {
            Some(core) => core.clone(),
            None => self.lines.iter().map(Line::extent).reduce(union).unwrap_or(0.0..1.0),
        };
        for line in self.lines.iter().filter(reference) {
            let wider = union(extent.clone(), line.extent());
            if core.as_ref().is_none_or(|core| wider.end - wider.start <= STRETCH * (core.end - core.start)) {
                extent = wider;
            }
        }
        if self.from_zero {
            extent.start = 0.0;
        }
        extent
    }
}

fn draw_line(line: &Line, frame: &Frame) -> String {
    let mut path = String::new();
    let mut bands = String::new();
    // Runs of periods without a gap.
    let mut start = 0;
    for run in line.points.chunk_by(|a, b| a.is_some() == b.is_some()) {
        let points: Vec<(f64, Point)> =
            (start..).zip(run).filter_map(|(i, point)| Some((frame.x(i), (*point)?))).collect();
        start += run.len();
        if points.is_empty() {
            continue;
        }
        path += &polyline(points.iter().map(|(x, point)| (*x, frame.y(point.value))), 'M');
        // A line of no length with round caps is a dot: a lone period stays visible.
        path += "h0";
        if points.iter().any(|(_, point)| point.spread > 0.0) {
            bands += &polyline(points.iter().map(|(x, point)| (*x, frame.y(point.value + point.spread))), 'M');
            bands += &polyline(points.iter().rev().map(|(x, point)| (*x, frame.y(point.value - point.spread))), 'L');
            bands += "Z";
        }
    }
    let band = match bands.as_str() {
        "" => String::new(),
        bands => format!("<path d=\"{bands}\" fill=\"{}\" opacity=\"0.16\"/>", line.stroke.colour()),
    };
    format!("<g data-m=\"{}\">{band}<path d=\"{path}\" {}/></g>\n", line.id, line.stroke.attributes())
}

fn polyline(points: impl Iterator<Item = (f64, f64)>, first: char) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { first } else { 'L' });
    }
    path
}

/// Rows per period with the positives among them.
pub(super) struct Bars<'a> {
    pub(super) periods: &'a [PeriodFacts],
    pub(super) span: &'a Range<u32>,
}

impl Bars<'_> {
    pub(super) fn svg(&self) -> String {
        let top = self.periods.iter().map(|facts| facts.rows).max().unwrap_or(1);
        let frame = Frame::new(self.periods, self.span, 0.0..top as f64, false);
        let width = frame.step() * 0.7;
        let bar = |i: usize, count: u64, class: &str| {
            let (x, y) = (frame.x(i) - width / 2.0, frame.y(count as f64));
            let height = frame.y(0.0) - y;
            format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\"/>\n"
            )
        };
        let bars: String = self
            .periods
            .iter()
            .enumerate()
            .map(|(i, facts)| bar(i, facts.rows, "rows") + &bar(i, facts.positives, "positives"))
            .collect();
        let tip = |i: usize| {
            let facts = &self.periods[i];
            format!("\nrows\t{}\npositives\t{}", show::count(facts.rows), show::count(facts.positives))
        };
        frame.svg(&bars, tip)
    }
}

/// The axes and what is common to all plots. Coordinates are pixels of the view box.
struct Frame<'a> {
    periods: &'a [PeriodFacts],
    span: &'a Range<u32>,
    values: Range<f64>,
    width: f64,
    height: f64,
}

const LEFT: f64 = 56.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

impl<'a> Frame<'a> {
    fn new(periods: &'a [PeriodFacts], span: &'a Range<u32>, values: Range<f64>, wide: bool) -> Frame<'a> {
        let room = match values.end - values.start {
            size if size > 0.0 => 0.06 * size,
            _ => 0.05 * values.end.abs().max(0.1),
        };
        let start = if values.start == 0.0 { 0.0 } else { values.start - room };
        let (width, height) = if wide { (1060.0, 300.0) } else { (520.0, 230.0) };
        Frame { periods, span, values: start..values.end + room, width, height }
    }

    /// Pixels per period.
    fn step(&self) -> f64 {
        (self.width - LEFT - RIGHT) / self.periods.len().max(1) as f64
    }

    /// Middle of the i-th period.
    fn x(&self, i: usize) -> f64 {
        LEFT + (i as f64 + 0.5) * self.step()
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.values.start) / (self.values.end - self.values.start);
        let y = self.height - BOTTOM - share * (self.height - TOP - BOTTOM);
        // Values far outside are clipped anyway; this keeps the numbers short.
        y.clamp(-self.height, 2.0 * self.height)
    }

    /// `tip` gives the values of the i-th period, one `\nname\tvalue` each.
    fn svg(&self, marks: &str, tip: impl Fn(usize) -> String) -> String {
        let (w, h) = (self.width, self.height);
        let inner = format!("x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"", w - LEFT - RIGHT, h - TOP - BOTTOM);
        // The viewport of a nested svg clips without needing an id.
        format!(
            "<svg class=\"plot\" viewBox=\"0 0 {w} {h}\" role=\"img\">\n{}{}{}<svg {inner} viewBox=\"{LEFT} {TOP} {} {}\">\n{marks}</svg>\n{}</svg>\n",
            self.shade(),
            self.value_axis(),
            self.period_axis(),
            w - LEFT - RIGHT,
            h - TOP - BOTTOM,
            self.targets(tip),
        )
    }

    /// The periods that averages are over.
    fn shade(&self) -> String {
        let inside: Vec<usize> =
            (0..self.periods.len()).filter(|&i| self.span.contains(&self.periods[i].index)).collect();
        let (Some(&first), Some(&last)) = (inside.first(), inside.last()) else { return String::new() };
        let (left, right) = (self.x(first) - self.step() / 2.0, self.x(last) + self.step() / 2.0);
        format!(
            "<rect class=\"span\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>\n",
            right - left,
            self.height - TOP - BOTTOM
        )
    }

    fn value_axis(&self) -> String {
        let (ticks, digits) = ticks(&self.values);
        let mut axis = String::new();
        for tick in ticks {
            let y = self.y(tick);
            let class = if tick.abs() < 1e-12 { "grid zero" } else { "grid" };
            let _ = writeln!(
                axis,
                "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                self.width - RIGHT,
                LEFT - 7.0,
                y + 4.0,
                label(tick, digits)
            );
        }
        axis
    }

    fn period_axis(&self) -> String {
        let room = (self.width - LEFT - RIGHT) / 42.0;
        let every = (self.periods.len() as f64 / room).ceil().max(1.0) as usize;
        let label = |(i, facts): (usize, &PeriodFacts)| {
            format!(
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                self.x(i),
                self.height - 8.0,
                facts.index
            )
        };
        self.periods.iter().enumerate().step_by(every).map(label).collect()
    }

    /// One invisible column per period that carries the tooltip.
    fn targets(&self, tip: impl Fn(usize) -> String) -> String {
        let target = |(i, facts): (usize, &PeriodFacts)| {
            let heading = format!("period {} · {}", facts.index, show::time(facts.start));
            format!(
                "<rect class=\"hit\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"><title>{}</title></rect>\n",
                self.x(i) - self.step() / 2.0,
                self.step(),
                self.height - TOP - BOTTOM,
                escape(&(heading + &tip(i)))
            )
        };
        self.periods.iter().enumerate().map(target).collect()
    }
}

/// Four to eight round values inside the range, and the decimals they need.
fn ticks(range: &Range<f64>) -> (Vec<f64>, usize) {
    let rough = (range.end - range.start) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (range.start / step).ceil() as i64;
    let last = (range.end / step).floor() as i64;
    let digits = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    ((first..=last).map(|i| i as f64 * step).collect(), digits)
}

fn label(tick: f64, digits: usize) -> String {
    match tick {
        tick if tick.abs() >= 1000.0 => format!("{}k", tick / 1000.0),
        tick => format!("{tick:.digits$}").replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (values, digits) = ticks(&(0.683..0.781));
        assert_eq!(
            values.iter().map(|tick| label(*tick, digits)).collect::<Vec<_>>(),
            ["0.70", "0.72", "0.74", "0.76", "0.78"]
        );
        let (values, digits) = ticks(&(-0.012..0.031));
        assert_eq!(
            values.iter().map(|tick| label(*tick, digits)).collect::<Vec<_>>(),
            ["−0.01", "0.00", "0.01", "0.02", "0.03"]
        );
        assert_eq!((label(120_000.0, 0), label(2500.0, 0)), ("120k".into(), "2.5k".into()));
    }

    fn line(stroke: Stroke, points: &[Option<f64>]) -> Line {
        Line {
            id: "0".into(),
            name: "a".into(),
            stroke,
            points: points.iter().map(|point| point.map(Point::exact)).collect(),
        }
    }

    fn lines(lines: Vec<Line>) -> Lines<'static> {
        Lines { periods: &[], span: &(0..0), lines, from_zero: false, wide: false, digits: 1 }
    }

    #[test]
    fn a_far_reference_stays_outside() {
        let near = || line(Stroke::Solid(0), &[Some(1.0), Some(2.0)]);
        let both = |value| lines(vec![near(), line(Stroke::Dashed(0), &[Some(value), Some(value)])]);
        assert_eq!((both(0.5).extent(), both(0.5).beyond_frame().len()), (0.5..2.0, 0));
        assert_eq!((both(-9.0).extent(), both(-9.0).beyond_frame()), (1.0..2.0, vec!["a (mean −9.0)".to_owned()]));
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let facts: Vec<PeriodFacts> = crate::sample::marketplace().periods;
        let frame = Frame::new(&facts[..3], &(0..0), 0.0..1.0, false);
        let path = draw_line(&line(Stroke::Solid(0), &[Some(0.5), None, Some(0.5)]), &frame);
        assert_eq!((path.matches('M').count(), path.matches("h0").count()), (2, 2), "{path}");
    }
}
