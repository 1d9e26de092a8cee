//! A picture of one registration, to be judged by eye: the nuclei of both fields, and how far each pair is apart.

use std::fmt::Write;

use crate::geometry::Affine;

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct PairPicture<'a> {
    /// Names of the fine field and of its overview.
    pub names: [&'a str; 2],
    /// Nuclei of the fine field, `[x, y]` in its px.
    pub moving: &'a [[f64; 2]],
    /// Nuclei of the overview, in its px.
    pub reference: &'a [[f64; 2]],
    /// Positions of those that are the same nucleus, `(moving, reference)`.
    pub pairs: &'a [(usize, usize)],
    /// Takes the fine field's px to the overview's.
    pub reference_from_moving: Affine,
    /// Micrometres per px of the overview.
    pub pixel_size_um: Option<f64>,
}

/// Width of the picture, and the frame's place in it, in px of the picture.
const WIDTH: f64 = 840.0;
const LEFT: f64 = 20.0;
const TOP: f64 = 84.0;
const FRAME_MAX: [f64; 2] = [WIDTH - 2.0 * LEFT, 900.0];
/// Height below the frame: scale bars and legend.
const BELOW: f64 = 96.0;
/// Letters of a name at most.
const NAME_MAX: usize = 90;
/// Length that a scale bar has at most.
const BAR_MAX: f64 = 160.0;
/// Of the overview's nuclei with a partner, of the fine field's, and of those without.
const COLOURS: [&str; 3] = ["#1f77b4", "#d95f02", "#b0b0b0"];

impl PairPicture<'_> {
    /// The picture as an SVG file. Distances are drawn longer than they are, by a whole number that the picture says.
    pub fn to_svg(&self) -> String {
        let view = View::of(self);
        let [width, height] = view.frame;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total:.0}\" width=\"{WIDTH}\" \
             height=\"{total:.0}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            total = TOP + height + BELOW
        );
        self.write_head(&mut svg);
        put(
            &mut svg,
            &format!(
                "<rect x=\"{:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" stroke=\"#333\"/>",
                view.left
            ),
        );
        self.write_nuclei(&view, &mut svg);
        self.write_foot(&view, &mut svg);
        svg + "</svg>\n"
    }

    fn write_head(&self, svg: &mut String) {
        let parts = self.reference_from_moving.decompose();
        let [fine, overview] = self.names.map(|name| escaped(&shortened(name)));
        let square: f64 = self.offsets().map(|[x, y]| x * x + y * y).sum();
        let rmsd_px = (square / self.pairs.len().max(1) as f64).sqrt();
        let in_um = self.pixel_size_um.map_or(String::new(), |um| format!(" = {:.3} um", um * rmsd_px));
        let mirrored = if parts.mirrored { ", mirrored" } else { "" };
        let lines = [
            format!("<tspan font-size=\"14\" font-weight=\"bold\">{fine}</tspan>"),
            format!("in {overview}"),
            format!(
                "{} pairs, {rmsd_px:.3} px{in_um} apart (root mean square); scale {:.5}, rotation {:.3} degrees{mirrored}",
                self.pairs.len(),
                parts.scale,
                parts.rotation_rad.to_degrees()
            ),
        ];
        for (line, text) in lines.iter().enumerate() {
            let y = 24.0 + 20.0 * line as f64;
            put(svg, &format!("<text x=\"{LEFT}\" y=\"{y}\">{text}</text>"));
        }
    }

    fn write_nuclei(&self, view: &View, svg: &mut String) {
        let mut has_partner = [vec![false; self.moving.len()], vec![false; self.reference.len()]];
        for &(m, r) in self.pairs {
            (has_partner[0][m], has_partner[1][r]) = (true, true);
        }
        for (place, paired) in
            self.reference.iter().zip(&has_partner[1]).filter(|(place, _)| view.shows(place))
        {
            let ([x, y], colour) = (view.place(*place), if *paired { COLOURS[0] } else { COLOURS[2] });
            put(
                svg,
                &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"none\" stroke=\"{colour}\"/>"),
            );
        }
        for (place, paired) in self.moving.iter().zip(&has_partner[0]) {
            let [x, y] = view.place(self.reference_from_moving.apply(*place));
            let colour = if *paired { COLOURS[1] } else { COLOURS[2] };
            put(svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.8\" fill=\"{colour}\"/>"));
        }
        for (&(_, r), [dx, dy]) in self.pairs.iter().zip(self.offsets()) {
            let [x1, y1] = view.place(self.reference[r]);
            let [x2, y2] = [x1 + dx * view.longer(), y1 + dy * view.longer()];
            put(
                svg,
                &format!(
                    "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#222\"/>"
                ),
            );
        }
    }

    fn write_foot(&self, view: &View, svg: &mut String) {
        let y = TOP + view.frame[1] + 24.0;
        let um = |px: f64| self.pixel_size_um.map_or(String::new(), |um| format!(" = {} um", plain(um * px)));
        let length_px = nice(BAR_MAX / view.scale);
        bar(svg, [LEFT, y], length_px * view.scale, &format!("{} px{}", plain(length_px), um(length_px)));
        let offset_px = nice(BAR_MAX / view.longer());
        let text = format!(
            "{} px{} between partners (lines are {} times as long)",
            plain(offset_px),
            um(offset_px),
            view.magnification
        );
        bar(svg, [LEFT + 400.0, y], offset_px * view.longer(), &text);
        let y = y + 40.0;
        let [reference, moving, none] = COLOURS;
        let marks = [
            (
                0.0,
                format!("<circle cx=\"0\" cy=\"0\" r=\"4\" fill=\"none\" stroke=\"{reference}\"/>"),
                "overview",
            ),
            (110.0, format!("<circle cx=\"0\" cy=\"0\" r=\"1.8\" fill=\"{moving}\"/>"), "fine field, mapped"),
            (
                260.0,
                format!(
                    "<circle cx=\"-4\" cy=\"0\" r=\"4\" fill=\"none\" stroke=\"{none}\"/><circle cx=\"6\" cy=\"0\" r=\"1.8\" \
                     fill=\"{none}\"/>"
                ),
                "without a partner",
            ),
            (
                410.0,
                "<line x1=\"-8\" y1=\"0\" x2=\"8\" y2=\"0\" stroke=\"#222\"/>".to_owned(),
                "from the overview's nucleus towards the mapped one",
            ),
        ];
        for (x, mark, text) in marks {
            let x = LEFT + 8.0 + x;
            put(
                svg,
                &format!(
                    "<g transform=\"translate({x} {y})\">{mark}<text x=\"14\" y=\"4\">{text}</text></g>"
                ),
            );
        }
    }

    /// From the overview's nucleus of each pair to where the other one is mapped, in px of the overview.
    fn offsets(&self) -> impl Iterator<Item = [f64; 2]> + '_ {
        self.pairs.iter().map(|&(m, r)| {
            let ([x, y], [u, v]) = (self.reference_from_moving.apply(self.moving[m]), self.reference[r]);
            [x - u, y - v]
        })
    }
}

/// From px of the overview to the picture.
struct View {
    low: [f64; 2],
    high: [f64; 2],
    /// Px of the picture per px of the overview.
    scale: f64,
    left: f64,
    frame: [f64; 2],
    /// How many times longer than they are distances between partners are drawn.
    magnification: f64,
}

impl View {
    /// The box around the mapped field, with room for what is drawn at its border.
    fn of(picture: &PairPicture<'_>) -> Self {
        let mapped = || picture.moving.iter().map(|place| picture.reference_from_moving.apply(*place));
        let end = |start: f64, choose: fn(f64, f64) -> f64| {
            [0, 1].map(|axis| mapped().map(|place| place[axis]).fold(start, choose))
        };
        let (mut low, mut high) = (end(f64::INFINITY, f64::min), end(f64::NEG_INFINITY, f64::max));
        if picture.moving.is_empty() {
            (low, high) = ([0.0; 2], [1.0; 2]);
        }
        let side = (high[0] - low[0]).max(high[1] - low[1]).max(1.0);
        let mut lengths: Vec<f64> = picture.offsets().map(|[x, y]| x.hypot(y)).collect();
        lengths.sort_unstable_by(f64::total_cmp);
        let longest = lengths.last().copied().unwrap_or(0.0);
        let usual = lengths.get(lengths.len() * 19 / 20).copied().unwrap_or(0.0);
        // most lines no longer than half of the way to the next nucleus
        let room = 0.5 * side / (picture.moving.len().max(1) as f64).sqrt();
        let magnification = if usual > 0.0 { nice(room / usual).clamp(1.0, 1000.0) } else { 1.0 };
        let margin = (0.03 * side).max(longest * magnification) + 0.01 * side;
        for axis in 0..2 {
            // a field of one row of nuclei has some height, too
            let thin = (0.15 * side - (high[axis] - low[axis])).max(0.0) / 2.0;
            low[axis] -= margin + thin;
            high[axis] += margin + thin;
        }
        let extent = [high[0] - low[0], high[1] - low[1]];
        let scale = (FRAME_MAX[0] / extent[0]).min(FRAME_MAX[1] / extent[1]);
        let frame = extent.map(|extent| extent * scale);
        Self { low, high, scale, left: (WIDTH - frame[0]) / 2.0, frame, magnification }
    }

    fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.left + (x - self.low[0]) * self.scale, TOP + (y - self.low[1]) * self.scale]
    }

    /// Whether the whole mark of a place stands within the frame.
    fn shows(&self, place: &[f64; 2]) -> bool {
        let rim = 5.0 / self.scale;
        (0..2).all(|axis| (self.low[axis] + rim..=self.high[axis] - rim).contains(&place[axis]))
    }

    /// Px of the picture per px between partners.
    fn longer(&self) -> f64 {
        self.scale * self.magnification
    }
}

/// The greatest of 1, 2 or 5 times a power of ten up to a value above 0.
fn nice(value: f64) -> f64 {
    let ten = 10_f64.powf(value.log10().floor());
    let found =
        [5.0, 2.0, 1.0].map(|factor| factor * ten).into_iter().find(|nice| *nice <= value * (1.0 + 1e-9));
    found.unwrap_or(ten)
}

/// A number with as many digits as it takes to tell it, three at most.
fn plain(value: f64) -> String {
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn bar(svg: &mut String, [x, y]: [f64; 2], length: f64, text: &str) {
    put(
        svg,
        &format!(
            "<path d=\"M{x:.1} {:.1}v6h{length:.1}v-6\" fill=\"none\" stroke=\"#222\"/>\
         <text x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
            y - 10.0,
            y + 11.0
        ),
    );
}

/// A name's end, where it is too long.
fn shortened(name: &str) -> String {
    let n_letters = name.chars().count();
    if n_letters <= NAME_MAX {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(n_letters - NAME_MAX + 1)).collect()
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes all text");
}

/// Text for a page or a picture; control characters, which no XML may hold, become spaces.
pub fn escaped(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of 10 x 10 nuclei, every third of which is off by `off_px` of the overview.
    fn drawn(off_px: f64, names: [&str; 2]) -> String {
        let moving: Vec<_> =
            (0..100).map(|n| [f64::from(n % 10), f64::from(n / 10)].map(|v| 200.0 * v)).collect();
        let map = Affine::similarity(0.25, 0.3, false, [400.0, 500.0]);
        let mut reference: Vec<_> = moving.iter().map(|place| map.apply(*place)).collect();
        reference.iter_mut().step_by(3).for_each(|place| place[0] += off_px);
        // far away: not in the picture
        reference.push([5000.0, 5000.0]);
        let pairs: Vec<_> = (0..90).map(|n| (n, n)).collect();
        let picture = PairPicture {
            names,
            moving: &moving,
            reference: &reference,
            pairs: &pairs,
            reference_from_moving: map,
            pixel_size_um: Some(0.65),
        };
        picture.to_svg()
    }

    /// The values of an attribute within the frame.
    fn values(svg: &str, name: &str) -> Vec<f64> {
        let marked = format!(" {name}=\"");
        svg.match_indices(&marked)
            .filter_map(|(at, mark)| svg[at + mark.len()..].split('"').next().unwrap().parse().ok())
            .collect()
    }

    #[test]
    fn everything_that_is_drawn_lies_within_the_frame_and_says_how_long_it_is() {
        for off_px in [0.0, 0.3, 3.0, 30.0] {
            let svg = drawn(off_px, ["a.tif", "b.tif"]);
            let n = |element: &str| svg.matches(element).count();
            // 100 of each field and four in the legend; a line for each pair and one in the legend
            assert_eq!((n("<circle"), n("<line")), (204, 91), "{off_px}");
            assert!(svg.contains("90 pairs") && svg.contains("between partners (lines are "), "{svg}");
            let height = values(&svg, "height")[0];
            // the legend is drawn about the origin
            let (field, _) = svg.split_once("<path").unwrap();
            for (names, frame) in
                [(["cx", "x1", "x2"], LEFT..=WIDTH - LEFT), (["cy", "y1", "y2"], TOP..=height - BELOW)]
            {
                let found: Vec<f64> = names.iter().flat_map(|name| values(field, name)).collect();
                assert_eq!(found.len(), 200 + 2 * 90);
                assert!(found.iter().all(|value| frame.contains(value)), "{off_px}: {found:?}");
            }
        }
        let times = |svg: &str| {
            let text = svg.split("(lines are ").nth(1).unwrap();
            text.split(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert_eq!(times(&drawn(0.3, ["a", "b"])), 50.0);
        assert_eq!(times(&drawn(30.0, ["a", "b"])), 1.0, "never shorter than they are");
    }

    #[test]
    fn names_are_escaped_and_cut_and_nothing_is_no_number() {
        let long = format!("{}/end<&.tif", "x".repeat(200));
        let svg = drawn(0.0, [&long, "b\u{7}.tif"]);
        assert!(
            svg.contains("x/end&lt;&amp;.tif</tspan>") && svg.contains("…x") && svg.contains("b .tif"),
            "{svg}"
        );
        assert!(!svg.contains(&"x".repeat(90)));
        let none = PairPicture {
            names: ["", ""],
            moving: &[],
            reference: &[],
            pairs: &[],
            reference_from_moving: Affine::IDENTITY,
            pixel_size_um: None,
        };
        let one = PairPicture { moving: &[[3.0, 4.0]], reference: &[[3.0, 4.5]], pairs: &[(0, 0)], ..none };
        for picture in [none, one] {
            let svg = picture.to_svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn numbers_are_round() {
        for (value, expected) in [(0.7, 0.5), (1.0, 1.0), (4.9, 2.0), (530.0, 500.0), (0.02, 0.02)] {
            assert!((nice(value) / expected - 1.0).abs() < 1e-9, "{value}: {}", nice(value));
        }
        assert_eq!([500.0, 6.5, 0.325, 0.1625].map(plain), ["500", "6.5", "0.325", "0.163"]);
    }
}
