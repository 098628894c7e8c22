//! What the records come to: medians, a table for each of what is varied, JSON.

use serde_json::{Value, json};

use super::Record;
use super::case::{Axis, Case};
use crate::versus::bench::Speed;
use crate::versus::peers::Peer;
use crate::versus::report::{distinct, middle_speed, speed_json, table};

/// The medians of one balancer in one case.
#[derive(Clone, Debug)]
pub(in crate::versus) struct Row {
    case: Case,
    peer: Peer,
    /// `Err` if no round came to a figure, with what the last one said.
    result: Result<Speed, String>,
}

/// The medians of all records, in the order of cases and peers.
pub(in crate::versus) fn rows(records: &[Record]) -> Vec<Row> {
    let whose = distinct(records.iter().map(|record| (record.case, record.peer)));
    whose
        .into_iter()
        .map(|(case, peer)| {
            let same = records
                .iter()
                .filter(|record| record.case == case && record.peer == peer);
            Row {
                case,
                peer,
                result: middle(same.map(|record| &record.result)),
            }
        })
        .collect()
}

fn middle<'a>(results: impl Iterator<Item = &'a Result<Speed, String>>) -> Result<Speed, String> {
    let (mut speeds, mut error) = (Vec::new(), String::new());
    for result in results {
        match result {
            Ok(speed) => speeds.push(*speed),
            Err(text) => error.clone_from(text),
        }
    }
    if speeds.is_empty() {
        return Err(error);
    }
    Ok(middle_speed(&speeds))
}

/// A table for each of what is varied, and what the limit of open files cut.
pub(in crate::versus) fn tables(rows: &[Row], files: u64) -> String {
    let tables = Axis::ALL.map(|axis| {
        let of_axis: Vec<_> = rows.iter().filter(|row| row.case.axis == axis).collect();
        of_axis_table(axis, &of_axis, files)
    });
    tables.concat()
}

fn of_axis_table(axis: Axis, rows: &[&Row], files: u64) -> String {
    let cases = distinct(rows.iter().map(|row| row.case));
    let peers = distinct(rows.iter().map(|row| row.peer));
    let Some(last) = cases.last() else {
        return String::new();
    };
    let mut head = vec![axis.name().to_owned()];
    head.extend(peers.iter().map(|peer| peer.name().to_owned()));
    let lines: Vec<_> = cases
        .iter()
        .map(|case| {
            let mut cells = vec![case.size().to_string()];
            cells.extend(peers.iter().map(|peer| {
                let both = |row: &&&Row| row.case == *case && row.peer == *peer;
                rows.iter()
                    .find(both)
                    .map_or(String::new(), |row| cell(row))
            }));
            cells
        })
        .collect();
    let mut text = format!(
        "**Processor µs per request** by {}: GET 128 B, {}\n\n{}\n",
        axis.name(),
        last.others(),
        table(&head, &lines)
    );
    let wanted = axis.sizes().last();
    if wanted.is_some_and(|wanted| last.size() < *wanted) {
        text += &format!(
            "No more than {} {}: a process may have {files} files open.\n\n",
            last.size(),
            axis.name()
        );
    }
    text
}

fn cell(row: &Row) -> String {
    match &row.result {
        Ok(speed) if speed.bad == 0 => format!("{:.1}", speed.cpu_us()),
        Ok(speed) => format!("{:.1} ({} bad)", speed.cpu_us(), speed.bad),
        Err(_) => "failed".into(),
    }
}

/// The figures as data.
pub(in crate::versus) fn json(rows: &[Row], records: &[Record]) -> Value {
    let medians: Vec<_> = rows
        .iter()
        .map(|row| entry(&row.case, row.peer, &row.result))
        .collect();
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            let mut value = entry(&record.case, record.peer, &record.result);
            value["round"] = json!(record.round);
            value
        })
        .collect();
    json!({ "medians": medians, "records": records })
}

fn entry(case: &Case, peer: Peer, result: &Result<Speed, String>) -> Value {
    let mut value = match result {
        Ok(speed) => speed_json(speed),
        Err(error) => json!({ "error": error }),
    };
    value["by"] = json!(case.axis.name());
    value["members"] = json!(case.members);
    value["workers"] = json!(case.workers);
    value["connections"] = json!(case.connections);
    value["peer"] = json!(peer.name());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(case: Case, peer: Peer, cpu_us: f64) -> Record {
        let speed = Speed {
            requests: 10,
            user_us: cpu_us,
            ..Speed::default()
        };
        Record {
            round: 0,
            case,
            peer,
            result: Ok(speed),
        }
    }

    #[test]
    fn the_tables_show_medians_and_say_what_was_cut_and_what_failed() {
        let (few, many) = (
            Case::new(Axis::Members, 3, 2),
            Case::new(Axis::Members, 9_500, 2),
        );
        let mut records = [(few, 10.0), (many, 30.0), (few, 12.0), (few, 90.0)]
            .map(|(case, cpu_us)| record(case, Peer::LbTokio, cpu_us))
            .to_vec();
        records.push(Record {
            result: Err("does not answer".into()),
            ..record(few, Peer::LbAsyncStd, 0.0)
        });
        let rows = rows(&records);
        let wanted = "\
**Processor µs per request** by members: GET 128 B, 64 connections, workers = 2

| members | lb-tokio | lb-async-std |
| ------- | -------: | -----------: |
| 3       |     12.0 |       failed |
| 9500    |     30.0 |              |

No more than 9500 members: a process may have 20000 files open.

";
        assert_eq!(tables(&rows, 20_000), wanted);
        let data = json(&rows, &records);
        assert_eq!(data["medians"][0]["cpu_us"], 12.0);
        assert_eq!(data["medians"][0]["by"], "members");
        assert_eq!(data["medians"][2]["error"], "does not answer");
        assert_eq!(data["records"][3]["cpu_us"], 90.0);
        assert_eq!(data["records"][1]["members"], 9_500);
    }
}
