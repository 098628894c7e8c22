//! What the records come to: medians, tables, JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::bench::{Crowd, Figures, Record, Speed, kib_per_client};
use super::latency::median;
use super::peers::Peer;
use super::work::Work;

/// The medians of one balancer in one piece of work.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) work: Work,
    pub(super) peer: Peer,
    /// `Err` if no round came to a figure, with what the last one said.
    pub(super) figures: Result<Figures, String>,
    /// Its main figure, as a multiple of that of the better of nginx and HAProxy.
    pub(super) ratio: Option<f64>,
}

/// The medians of all records, in the order of works and peers.
pub(super) fn rows(records: &[Record], works: &[Work], peers: &[Peer]) -> Vec<Row> {
    let mut rows = Vec::new();
    for work in works {
        let first = rows.len();
        for peer in peers {
            let of_both = |record: &&Record| record.work == *work && record.peer == *peer;
            let mine: Vec<_> = records.iter().filter(of_both).collect();
            if !mine.is_empty() {
                rows.push(Row {
                    work: *work,
                    peer: *peer,
                    figures: middle(&mine),
                    ratio: None,
                });
            }
        }
        let measured = rows[first..]
            .iter()
            .filter(|row| Peer::MEASURE.contains(&row.peer));
        let best = measured.filter_map(main_figure).min_by(f64::total_cmp);
        for row in &mut rows[first..] {
            row.ratio = main_figure(row).zip(best).map(|(mine, best)| mine / best);
        }
    }
    rows
}

/// What the ratio is of: processor time per request; at a constant rate the 99th percentile; KiB per idle client.
fn main_figure(row: &Row) -> Option<f64> {
    let figure = match row.figures.as_ref().ok()? {
        Figures::Speed(speed) if row.work == Work::W1r => speed.p99_us,
        Figures::Speed(speed) => speed.cpu_us(),
        Figures::Memory(crowds) => kib_per_client(crowds)?,
    };
    (figure > 0.0).then_some(figure)
}

fn middle(records: &[&Record]) -> Result<Figures, String> {
    let (mut speeds, mut memories, mut error) = (Vec::new(), Vec::new(), String::new());
    for record in records {
        match &record.result {
            Ok(Figures::Speed(speed)) => speeds.push(*speed),
            Ok(Figures::Memory(crowds)) => memories.push(crowds.as_slice()),
            Err(text) => error.clone_from(text),
        }
    }
    if !speeds.is_empty() {
        return Ok(Figures::Speed(middle_speed(&speeds)));
    }
    match memories.first() {
        Some(first) => Ok(Figures::Memory(middle_memory(first, &memories))),
        None => Err(error),
    }
}

/// The medians of several rounds; requests and failures together.
pub(super) fn middle_speed(speeds: &[Speed]) -> Speed {
    let of = |figure: fn(&Speed) -> f64| median(speeds.iter().map(figure)).unwrap_or_default();
    // User and system time of the round with the median sum, so that they add up to it.
    let mut by_cpu = speeds.to_vec();
    by_cpu.sort_by(|a, b| a.cpu_us().total_cmp(&b.cpu_us()));
    let parts = by_cpu[by_cpu.len() / 2];
    let scale = of(Speed::cpu_us) / parts.cpu_us().max(f64::MIN_POSITIVE);
    Speed {
        requests: speeds.iter().map(|speed| speed.requests).sum(),
        bad: speeds.iter().map(|speed| speed.bad).sum(),
        per_second: of(|speed| speed.per_second),
        user_us: parts.user_us * scale,
        system_us: parts.system_us * scale,
        cores: of(|speed| speed.cores),
        p50_us: of(|speed| speed.p50_us),
        p99_us: of(|speed| speed.p99_us),
        p999_us: of(|speed| speed.p999_us),
    }
}

fn middle_memory(first: &[Crowd], memories: &[&[Crowd]]) -> Vec<Crowd> {
    let at = |index: usize| {
        let kib = memories
            .iter()
            .filter_map(|crowds| crowds.get(index))
            .map(|crowd| crowd.kib as f64);
        median(kib).unwrap_or_default().round() as u64
    };
    let numbered = first.iter().enumerate();
    numbered
        .map(|(index, crowd)| Crowd {
            clients: crowd.clients,
            kib: at(index),
        })
        .collect()
}

/// Each of them once, in the order in which they come.
pub(super) fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for one in all {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}

/// A table as Markdown writes it, its columns aligned for the eye.
pub(super) fn table(head: &[String], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .chain(head.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        for (column, width) in widths.iter().enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            // The first column holds names, all others figures.
            let _ = if column == 0 {
                write!(text, "| {cell:width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
    };
    line(head);
    let rules: Vec<_> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => format!("{}:", "-".repeat(width - 1)),
        })
        .collect();
    line(&rules);
    lines.iter().for_each(|cells| line(cells));
    text
}

/// The tables of a run: one for each piece of work, and one of the ratios.
pub(super) fn tables(rows: &[Row], works: &[Work]) -> String {
    let mut text = String::new();
    for work in works {
        let of_work: Vec<_> = rows.iter().filter(|row| row.work == *work).collect();
        if of_work.is_empty() {
            continue;
        }
        let lines: Vec<_> = of_work.iter().map(|row| cells(row)).collect();
        let _ = write!(
            text,
            "**{work}** {}\n\n{}\n",
            work.title(),
            table(&heads(&of_work), &lines)
        );
    }
    text + "**Ratio** to the better of nginx and HAProxy: processor time per request (W1r: p99; R: memory per idle client)\n\n"
        + &ratios(rows, works)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn heads(rows: &[&Row]) -> Vec<String> {
    let crowds = rows.iter().find_map(|row| match &row.figures {
        Ok(Figures::Memory(crowds)) => Some(crowds),
        _ => None,
    });
    match crowds {
        Some(crowds) => {
            let mut heads = strings(&["", "ratio", "KiB per client"]);
            heads.extend(
                crowds
                    .iter()
                    .map(|crowd| format!("MiB at {}", crowd.clients)),
            );
            heads
        }
        None => strings(&[
            "",
            "ratio",
            "CPU µs",
            "user",
            "system",
            "cores",
            "req/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "bad",
        ]),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.peer.name().to_owned()];
    cells.push(
        row.ratio
            .map_or(String::new(), |ratio| format!("{ratio:.2}")),
    );
    match &row.figures {
        Err(error) => cells.push(format!("failed: {error}")),
        Ok(Figures::Memory(crowds)) => {
            cells.push(kib_per_client(crowds).map_or(String::new(), |kib| format!("{kib:.1}")));
            cells.extend(
                crowds
                    .iter()
                    .map(|crowd| format!("{:.1}", crowd.kib as f64 / 1024.0)),
            );
        }
        Ok(Figures::Speed(speed)) => {
            for figure in [speed.cpu_us(), speed.user_us, speed.system_us] {
                cells.push(format!("{figure:.1}"));
            }
            cells.push(format!("{:.2}", speed.cores));
            for figure in [speed.per_second, speed.p50_us, speed.p99_us, speed.p999_us] {
                cells.push(format!("{figure:.0}"));
            }
            cells.push(speed.bad.to_string());
        }
    }
    cells
}

fn ratios(rows: &[Row], works: &[Work]) -> String {
    let peers = distinct(rows.iter().map(|row| row.peer));
    let mut head = vec![String::new()];
    head.extend(works.iter().map(ToString::to_string));
    let lines: Vec<_> = peers
        .iter()
        .map(|peer| {
            let ratio = |work: &Work| {
                let row = rows
                    .iter()
                    .find(|row| row.peer == *peer && row.work == *work);
                let ratio = row.and_then(|row| row.ratio);
                ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"))
            };
            let mut cells = vec![peer.name().to_owned()];
            cells.extend(works.iter().map(ratio));
            cells
        })
        .collect();
    table(&head, &lines)
}

/// The figures as data.
pub(super) fn json(rows: &[Row], records: &[Record]) -> Value {
    let medians = rows.iter().map(|row| {
        let mut value = entry(row.work, row.peer, &row.figures);
        value["ratio"] = json!(row.ratio);
        value
    });
    let records_of = records.iter().map(|record| {
        let mut value = entry(record.work, record.peer, &record.result);
        value["round"] = json!(record.round);
        value
    });
    json!({ "medians": medians.collect::<Vec<_>>(), "records": records_of.collect::<Vec<_>>() })
}

/// Speed as data.
pub(super) fn speed_json(speed: &Speed) -> Value {
    json!({
        "requests": speed.requests, "bad": speed.bad, "per_second": speed.per_second,
        "cpu_us": speed.cpu_us(), "user_us": speed.user_us, "system_us": speed.system_us,
        "cores": speed.cores, "p50_us": speed.p50_us, "p99_us": speed.p99_us, "p999_us": speed.p999_us,
    })
}

fn entry(work: Work, peer: Peer, figures: &Result<Figures, String>) -> Value {
    let mut value = match figures {
        Err(error) => json!({ "error": error }),
        Ok(Figures::Speed(speed)) => speed_json(speed),
        Ok(Figures::Memory(crowds)) => {
            let crowd = |crowd: &Crowd| json!({ "clients": crowd.clients, "kib": crowd.kib });
            json!({
                "crowds": crowds.iter().map(crowd).collect::<Vec<_>>(),
                "kib_per_client": kib_per_client(crowds),
            })
        }
    };
    value["work"] = json!(work.to_string());
    value["peer"] = json!(peer.name());
    value
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn record(work: Work, peer: Peer, cpu_us: f64) -> Record {
        let speed = Speed {
            requests: 10,
            user_us: cpu_us / 4.0,
            system_us: cpu_us * 0.75,
            p99_us: cpu_us * 100.0,
            ..Speed::default()
        };
        Record {
            round: 0,
            work,
            peer,
            result: Ok(Figures::Speed(speed)),
        }
    }

    const PEERS: [Peer; 3] = [Peer::LbTokio, Peer::Nginx, Peer::Haproxy];

    fn some_rows() -> Vec<Row> {
        let mut records = vec![
            record(Work::W1, Peer::LbTokio, 12.0),
            record(Work::W1, Peer::Nginx, 11.0),
            record(Work::W1, Peer::Haproxy, 10.0),
            record(Work::W1, Peer::LbTokio, 9.0),
            record(Work::W1, Peer::LbTokio, 90.0),
            record(Work::W2, Peer::LbTokio, 30.0),
        ];
        records.push(Record {
            result: Err("does not answer".into()),
            ..record(Work::W2, Peer::Nginx, 0.0)
        });
        rows(&records, &[Work::W1, Work::W2], &PEERS)
    }

    #[test]
    fn a_row_holds_medians_and_their_ratio_to_the_better_of_the_two() {
        let rows = some_rows();
        let ratios: Vec<_> = rows.iter().map(|row| (row.peer, row.ratio)).collect();
        let wanted = [
            (Peer::LbTokio, Some(1.2)),
            (Peer::Nginx, Some(1.1)),
            (Peer::Haproxy, Some(1.0)),
            (Peer::LbTokio, None),
            (Peer::Nginx, None),
        ];
        assert_eq!(ratios, wanted);
        let Ok(Figures::Speed(speed)) = &rows[0].figures else {
            panic!("{:?}", rows[0]);
        };
        assert_eq!(
            (speed.user_us, speed.system_us, speed.requests),
            (3.0, 9.0, 30)
        );
    }

    #[test]
    fn at_a_constant_rate_the_ratio_is_that_of_the_tail() {
        let mut records = [
            record(Work::W1r, Peer::LbTokio, 50.0),
            record(Work::W1r, Peer::Nginx, 25.0),
        ];
        for (record, tail) in records.iter_mut().zip([300.0, 400.0]) {
            if let Ok(Figures::Speed(speed)) = &mut record.result {
                speed.p99_us = tail;
            }
        }
        let rows = rows(&records, &[Work::W1r], &PEERS);
        assert_eq!(rows[0].ratio, Some(0.75));
    }

    #[test]
    fn memory_is_compared_per_client() {
        let records = [(Peer::LbTokio, 13_000), (Peer::Haproxy, 2_600)].map(|(peer, kib)| Record {
            result: Ok(Figures::Memory(vec![
                Crowd {
                    clients: 0,
                    kib: 1_000,
                },
                Crowd {
                    clients: 1_000,
                    kib: kib + 1_000,
                },
            ])),
            ..record(Work::R, peer, 0.0)
        });
        let rows = rows(&records, &[Work::R], &PEERS);
        assert_eq!(rows[0].ratio, Some(5.0));
        let text = tables(&rows, &[Work::R]);
        assert!(
            text.contains("| lb-tokio |  5.00 |           13.0 |"),
            "{text}"
        );
        assert!(text.contains("| MiB at 1000 |"), "{text}");
    }

    #[test]
    fn tables_show_every_peer_and_say_who_failed() {
        let text = tables(&some_rows(), &[Work::W1, Work::W2]);
        let wanted = "\
|          |   W1 |  W2 |
| -------- | ---: | --: |
| lb-tokio | 1.20 |     |
| nginx    | 1.10 |     |
| haproxy  | 1.00 |     |
";
        assert!(text.ends_with(wanted), "{text}");
        assert!(
            text.contains("| nginx    |       | failed: does not answer |"),
            "{text}"
        );
        assert!(text.contains("|  1.20 |   12.0 |"), "{text}");
    }

    #[test]
    fn the_data_holds_medians_and_every_record() {
        let records = [
            record(Work::W1, Peer::Nginx, 10.0),
            record(Work::W1, Peer::Nginx, 20.0),
        ];
        let data = json(&rows(&records, &[Work::W1], &PEERS), &records);
        assert_eq!(data["medians"][0]["cpu_us"], 15.0);
        assert_eq!(data["medians"][0]["ratio"], 1.0);
        assert_eq!(data["records"][1]["peer"], "nginx");
        assert_eq!(data["records"][1]["cpu_us"], 20.0);
    }
}
