//! Plots as SVG text, drawn without any library: lines, steps and points with whiskers on linear or logarithmic axes.

use std::fmt::Write;

pub use crate::reports::escaped;

/// The size of a plot and the room around its frame, in px.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;
/// Colours that people who are colour-blind can tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444"];
/// Logarithmic axes go no further down than this part of their greatest value.
const LOG_RANGE_MIN: f64 = 1e-16;

/// Room beside scattered points, as a part of their range.
const ROOM: f64 = 0.04;
/// How wide a letter of the legend is at most, and how high a line, in px.
const LETTER: f64 = 6.7;
const LINE: f64 = 16.0;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Points joined by a line.
    Line,
    /// The same, dashed: a theory beside a measurement.
    Dashed,
    /// A function that keeps its value up to the next point.
    Steps,
    /// Points alone, with whiskers where they are given.
    Points,
}

/// Points of one colour.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// How it is drawn.
    pub style: Style,
    /// `[x, y]`; those that are not finite, or not above 0 on a logarithmic axis, are left out.
    pub points: Vec<[f64; 2]>,
    /// Lower and upper end of each point's whisker; empty for none.
    pub whiskers: Vec<[f64; 2]>,
    /// Number of the colour.
    pub colour: usize,
}

/// A plot with its axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Stands above.
    pub title: String,
    /// Stands below, with the unit.
    pub x_label: String,
    /// Stands beside, with the unit.
    pub y_label: String,
    /// Whether x and y are logarithmic.
    pub is_log: [bool; 2],
    /// Range of y where it is given, else that of the points.
    pub y_range: Option<[f64; 2]>,
    /// What is drawn.
    pub series: Vec<Series>,
}

impl Plot {
    /// The whole plot as an SVG element that can stand in a page or in a file.
    pub fn to_svg(&self) -> String {
        let axes = [0, 1].map(|axis| Axis::new(self, axis));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n",
            title = escaped(&self.title)
        );
        self.draw_frame(&axes, &mut svg);
        for series in &self.series {
            draw(series, &axes, &mut svg);
        }
        self.draw_legend(&axes, &mut svg);
        svg + "</svg>\n"
    }

    fn draw_frame(&self, axes: &[Axis; 2], svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in axes[0].ticks() {
            let x = axes[0].place(value);
            put(
                svg,
                &format!("<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>"),
            );
            let y = bottom + 16.0;
            put(svg, &format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
        }
        for (value, label) in axes[1].ticks() {
            let y = axes[1].place(value);
            put(
                svg,
                &format!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"),
            );
            let (x, y) = (LEFT - 6.0, y + 4.0);
            put(svg, &format!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>"));
        }
        let (width, height) = (right - LEFT, bottom - TOP);
        put(
            svg,
            &format!(
                "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#333\"/>"
            ),
        );
        let (x, y) = (LEFT + width / 2.0, HEIGHT - 14.0);
        let label = escaped(&self.x_label);
        put(svg, &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
        let (y, label) = (TOP + height / 2.0, escaped(&self.y_label));
        put(
            svg,
            &format!(
                "<text transform=\"translate(16 {y}) rotate(-90)\" text-anchor=\"middle\">{label}</text>"
            ),
        );
    }

    /// Puts the legend into the corner where it covers least.
    fn draw_legend(&self, axes: &[Axis; 2], svg: &mut String) {
        let named = || self.series.iter().filter(|series| !series.name.is_empty());
        let n_letters = named().map(|series| series.name.chars().count()).max().unwrap_or(0);
        let (width, height) = (LETTER * n_letters as f64 + 44.0, LINE * named().count() as f64 + 8.0);
        let [top, bottom] = [TOP + 2.0, HEIGHT - BOTTOM - 2.0 - height];
        let [left, right] = [LEFT + 2.0 + width, WIDTH - RIGHT - 2.0];
        let covered = |&[right, top]: &[f64; 2]| {
            let is_below =
                |[x, y]: &[f64; 2]| (right - width..right).contains(x) && (top..top + height).contains(y);
            self.series.iter().flat_map(|series| way(series, axes)).filter(is_below).count()
        };
        let corners = [[right, top], [right, bottom], [left, bottom], [left, top]];
        let Some([right, top]) = corners.into_iter().min_by_key(covered) else { return };
        for (row, series) in named().enumerate() {
            let (x, y) = (right - 8.0, top + 12.0 + LINE * row as f64);
            let colour = COLOURS[series.colour % COLOURS.len()];
            if series.style == Style::Points {
                put(svg, &dot(x - 11.0, y, series));
            } else {
                let dash = if series.style == Style::Dashed { " stroke-dasharray=\"6 4\"" } else { "" };
                let x1 = x - 22.0;
                let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\"{dash}");
                put(svg, &format!("<line x1=\"{x1}\" y1=\"{y}\" x2=\"{x}\" y2=\"{y}\" {stroke}/>"));
            }
            let (x, y, name) = (x - 28.0, y + 4.0, escaped(&series.name));
            let halo = "paint-order=\"stroke\" stroke=\"white\" stroke-width=\"4\"";
            put(svg, &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" {halo}>{name}</text>"));
        }
    }
}

/// Places along what is drawn of a series, a few px apart.
fn way(series: &Series, axes: &[Axis; 2]) -> Vec<[f64; 2]> {
    const N_BETWEEN: usize = 24;
    let shown = series.points.iter().filter(|point| is_shown(point, axes));
    let places: Vec<[f64; 2]> = shown.map(|point| [0, 1].map(|axis| axes[axis].place(point[axis]))).collect();
    let between = |pair: &[[f64; 2]]| -> Vec<[f64; 2]> {
        let at = |step: usize| {
            let part = step as f64 / N_BETWEEN as f64;
            [0, 1].map(|axis| pair[0][axis] + part * (pair[1][axis] - pair[0][axis]))
        };
        (0..N_BETWEEN).map(at).collect()
    };
    if series.style == Style::Points {
        return places;
    }
    places.windows(2).flat_map(between).chain(places.last().copied()).collect()
}

/// Whether a point has a place on both axes.
fn is_shown(point: &[f64; 2], axes: &[Axis; 2]) -> bool {
    (0..2).all(|axis| point[axis].is_finite() && (!axes[axis].is_log || point[axis] > 0.0))
}

/// A point: a ring for the first colour, so that one of another shows within where both fall together.
fn dot(x: f64, y: f64, series: &Series) -> String {
    let colour = COLOURS[series.colour % COLOURS.len()];
    let look = match series.colour {
        0 => format!("r=\"5\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\""),
        _ => format!("r=\"3\" fill=\"{colour}\""),
    };
    format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" {look}/>")
}

/// One axis: from values to px.
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    /// Where the low and the high end stand.
    ends_px: [f64; 2],
}

impl Axis {
    fn new(plot: &Plot, axis: usize) -> Self {
        let is_log = plot.is_log[axis];
        let points = plot.series.iter().flat_map(|series| series.points.iter().map(|point| point[axis]));
        let whiskers = plot.series.iter().flat_map(|series| series.whiskers.iter().flatten().copied());
        let of_whiskers = whiskers.filter(|_| axis == 1);
        let is_shown = |value: &f64| value.is_finite() && (!is_log || *value > 0.0);
        let mut values: Vec<f64> = points.chain(of_whiskers).filter(is_shown).collect();
        values.extend(plot.y_range.filter(|_| axis == 1).into_iter().flatten());
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let (low, high) = if low <= high { (low, high) } else { (1.0, 2.0) };
        let low = if is_log { low.max(high * LOG_RANGE_MIN) } else { low };
        let (low, high) = match (is_log, low < high) {
            (_, true) => (low, high),
            (true, false) => (low / 2.0, high * 2.0),
            (false, false) => (low - 0.5, high + 0.5),
        };
        let (low, high) = if is_scattered(plot, axis) { padded(low, high, is_log) } else { (low, high) };
        let ends_px = if axis == 0 { [LEFT, WIDTH - RIGHT] } else { [HEIGHT - BOTTOM, TOP] };
        Self { low, high, is_log, ends_px }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self.is_log {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        let [low, high] = self.ends_px;
        low + part.clamp(-0.01, 1.01) * (high - low)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        if self.is_log { self.decades() } else { self.round_steps() }
    }

    /// Powers of ten, every second or third where there are many; where there is no more than one, 2 and 5 as well.
    fn decades(&self) -> Vec<(f64, String)> {
        let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
        let step = ((last - first) / 8 + 1).max(1);
        let is_narrow = last - first < 1;
        let within = |value: f64| value >= self.low * 0.999 && value <= self.high * 1.001;
        let mut ticks = vec![];
        for power in (first - 1..=last).filter(|power| (power - first) % step == 0) {
            let ten = 10_f64.powi(power);
            let label = if (-3..=4).contains(&power) { format!("{ten}") } else { format!("1e{power}") };
            ticks.push((ten, label));
            if is_narrow {
                ticks.extend([2.0, 5.0].map(|factor| (factor * ten, number(factor * ten))));
            }
        }
        ticks.retain(|(value, _)| within(*value));
        ticks
    }

    fn round_steps(&self) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / 6.0;
        let ten = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * ten).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * ten);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).take(20).map(|count| (count as f64 * step, number(count as f64 * step))).collect()
    }
}

/// Whether points would lie on the frame: those of an axis whose range they make themselves.
fn is_scattered(plot: &Plot, axis: usize) -> bool {
    let has_range = axis == 1 && plot.y_range.is_some();
    !has_range && plot.series.iter().any(|series| series.style == Style::Points)
}

/// A range with a little room at both ends.
fn padded(low: f64, high: f64, is_log: bool) -> (f64, f64) {
    if is_log {
        let room = (high / low).powf(ROOM);
        (low / room, high * room)
    } else {
        let room = ROOM * (high - low);
        (low - room, high + room)
    }
}

/// A tick's number without rounding errors.
fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    if value != 0.0 && (rounded == 0.0 || value.abs() >= 1e6) {
        format!("{value:e}")
    } else {
        rounded.to_string()
    }
}

fn draw(series: &Series, axes: &[Axis; 2], svg: &mut String) {
    let colour = COLOURS[series.colour % COLOURS.len()];
    let place = |point: &[f64; 2]| [axes[0].place(point[0]), axes[1].place(point[1])];
    let mut path = String::new();
    let mut before: Option<[f64; 2]> = None;
    for (index, point) in series.points.iter().enumerate().filter(|(_, point)| is_shown(point, axes)) {
        let [x, y] = place(point);
        if let Some([low, high]) = series.whiskers.get(index).map(|ends| ends.map(|end| axes[1].place(end))) {
            put(
                svg,
                &format!(
                    "<line x1=\"{x:.1}\" y1=\"{low:.1}\" x2=\"{x:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\"/>"
                ),
            );
        }
        let is_alone = series.points.len() == 1;
        if series.style == Style::Points || is_alone || !series.whiskers.is_empty() {
            put(svg, &dot(x, y, series));
        }
        match (before, series.style) {
            (None, _) => path += &format!("M{x:.1} {y:.1}"),
            (Some(_), Style::Steps) => path += &format!("H{x:.1}V{y:.1}"),
            (Some(_), _) => path += &format!("L{x:.1} {y:.1}"),
        }
        before = Some([x, y]);
    }
    if series.style == Style::Steps && before.is_some() {
        path += &format!("H{}", WIDTH - RIGHT);
    }
    if series.style != Style::Points && !path.is_empty() {
        let dash = if series.style == Style::Dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        put(svg, &format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"));
    }
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(is_log: [bool; 2], points: Vec<[f64; 2]>) -> Plot {
        let series =
            Series { name: "a < b".into(), style: Style::Steps, points, whiskers: vec![], colour: 0 };
        let label = String::from;
        Plot {
            title: label("t"),
            x_label: label("x"),
            y_label: label("y"),
            is_log,
            y_range: None,
            series: vec![series],
        }
    }

    #[test]
    fn values_stand_where_they_belong() {
        let axis = Axis::new(&plot([true, false], vec![[1.0, 0.0], [100.0, 10.0]]), 0);
        assert!((axis.place(10.0) - f64::midpoint(LEFT, WIDTH - RIGHT)).abs() < 1e-9);
        assert_eq!(
            axis.ticks().iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(),
            ["1", "10", "100"]
        );
        let axis = Axis::new(&plot([true, false], vec![[1.0, 0.0], [100.0, 10.0]]), 1);
        assert_eq!((axis.place(0.0), axis.place(10.0)), (HEIGHT - BOTTOM, TOP));
        assert_eq!(axis.ticks().len(), 6);
    }

    #[test]
    fn what_cannot_be_shown_is_left_out() {
        let svg = plot([true, true], vec![[0.0, 1.0], [f64::NAN, 2.0], [3.0, -1.0]]).to_svg();
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("<path"), "{svg}");
        let svg = plot([false, false], vec![]).to_svg();
        assert!(svg.ends_with("</svg>\n") && !svg.contains("inf"));
        let svg = plot([false, false], vec![[5.0, 5.0]]).to_svg();
        assert!(svg.contains("<path") && !svg.contains("NaN"));
    }
}
