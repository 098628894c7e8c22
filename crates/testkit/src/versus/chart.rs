//! The ratios as a picture: a group of bars for each piece of work, a line at 1.

use std::fmt::Write as _;

use super::peers::Peer;
use super::report::Row;
use super::work::Work;

const BAR: usize = 28;
const GAP: usize = 26;
const LEFT: usize = 44;
const TOP: usize = 56;
const HEIGHT: usize = 280;
const BOTTOM: usize = 34;
/// Bars that would go further end here, with an arrow.
const RATIO_MAX: f64 = 4.0;
const COLOURS: [&str; 7] = [
    "#c2410c", "#f59e0b", "#15803d", "#1d4ed8", "#7c3aed", "#0e7490", "#6b7280",
];

/// Draws the rows that have a ratio, as SVG.
pub(super) fn svg(rows: &[Row], works: &[Work], peers: &[Peer]) -> String {
    let bars = |work: Work| {
        rows.iter()
            .filter(move |row| row.work == work && row.ratio.is_some())
    };
    let works: Vec<_> = works
        .iter()
        .copied()
        .filter(|work| bars(*work).next().is_some())
        .collect();
    let highest = rows
        .iter()
        .filter_map(|row| row.ratio)
        .fold(1.5, f64::max)
        .min(RATIO_MAX);
    let y = |ratio: f64| (TOP + HEIGHT) as f64 - ratio.min(highest) / highest * HEIGHT as f64;
    let group = peers.len() * BAR + GAP;
    let width = (LEFT + works.len() * group + GAP)
        .max(LEFT + peers.len() * 110)
        .max(480);
    let height = TOP + HEIGHT + BOTTOM;

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">Cost as a multiple of the better of nginx and HAProxy; lower is better</text>\n"
    );
    for (index, peer) in peers.iter().enumerate() {
        let (x, colour) = (LEFT + index * 110, colour(peers, *peer));
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"28\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"37\">{}</text>",
            x + 14,
            peer.name()
        );
    }
    for (index, work) in works.iter().enumerate() {
        let left = LEFT + GAP + index * group;
        for row in bars(*work) {
            let slot = peers.iter().position(|peer| *peer == row.peer).unwrap_or(0);
            let ratio = row.ratio.expect("filtered above");
            bar(
                &mut text,
                left + slot * BAR,
                y(ratio),
                ratio,
                (colour(peers, row.peer), ratio > highest),
            );
        }
        let middle = left + peers.len() * BAR / 2;
        let _ = writeln!(
            text,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{work}</text>",
            TOP + HEIGHT + 20
        );
    }
    let _ = writeln!(
        text,
        "<path d=\"M{LEFT} {0:.1}H{width}\" stroke=\"black\" stroke-dasharray=\"4 3\"/><text x=\"{1}\" y=\"{2:.1}\" \
         text-anchor=\"end\">1.0</text>\n</svg>",
        y(1.0),
        LEFT - 6,
        y(1.0) + 4.0
    );
    text
}

fn colour(peers: &[Peer], peer: Peer) -> &'static str {
    let index = peers.iter().position(|other| *other == peer).unwrap_or(0);
    COLOURS[index % COLOURS.len()]
}

fn bar(text: &mut String, x: usize, y: f64, ratio: f64, (colour, cut): (&str, bool)) {
    let arrow = if cut { "↑" } else { "" };
    let _ = writeln!(
        text,
        "<rect x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{:.1}\" fill=\"{colour}\"/>\
         <text x=\"{}\" y=\"{:.1}\" font-size=\"9\" text-anchor=\"middle\">{ratio:.2}{arrow}</text>",
        BAR - 2,
        (TOP + HEIGHT) as f64 - y,
        x + BAR / 2 - 1,
        y - 3.0
    );
}

#[cfg(test)]
mod tests {
    use super::super::report::{self, tests::record};
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_every_ratio_and_is_well_formed() {
        let peers = [Peer::LbTokio, Peer::Nginx];
        let works = [Work::W1, Work::W2, Work::W3];
        let records = [
            record(Work::W1, Peer::LbTokio, 15.0),
            record(Work::W1, Peer::Nginx, 10.0),
            record(Work::W2, Peer::LbTokio, 900.0),
            record(Work::W2, Peer::Nginx, 10.0),
            record(Work::W3, Peer::LbTokio, 10.0),
        ];
        let picture = svg(&report::rows(&records, &works, &peers), &works, &peers);
        // The ground, two of the legend, four bars.
        assert_eq!(picture.matches("<rect").count(), 7, "{picture}");
        assert!(
            picture.contains(">1.50<") && picture.contains(">90.00↑<"),
            "{picture}"
        );
        assert!(
            picture.contains(">W2<") && !picture.contains(">W3<"),
            "{picture}"
        );
        for (open, close) in [("<text", "</text>"), ("<svg", "</svg>")] {
            assert_eq!(
                picture.matches(open).count(),
                picture.matches(close).count()
            );
        }
        assert!(
            !picture.contains("NaN") && !picture.contains("inf"),
            "{picture}"
        );
    }

    #[test]
    fn a_chart_of_nothing_is_still_a_picture() {
        assert!(svg(&[], &Work::ALL, &[]).ends_with("</svg>\n"));
    }
}
