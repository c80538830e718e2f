//! The field `insight.columns`: input columns whose values are counted.

use scoretap_scan::columns::{Column, Key, LONGEST_NAME, MOST};

use super::json::{Fields, Json};
use super::reader::Reader;

const LARGEST_INDEX: u64 = 9_999;

pub(super) fn read(value: &Json, reader: &mut Reader) -> Vec<Column> {
    let Some(entries) = value.as_list().filter(|entries| (1..=MOST).contains(&entries.len())) else {
        let problem = format!("is {value}; write a list of 1 to {MOST} columns, or leave it out");
        reader.fault("insight.columns", problem);
        return Vec::new();
    };
    let mut columns: Vec<(usize, Column)> = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let at = format!("insight.columns[{position}]");
        let Some(column) = column(entry, &at, reader) else { continue };
        let label = column.label();
        match columns.iter().find(|(_, known)| known.label() == label) {
            Some((first, _)) => {
                let problem = format!("is {label:?}, as insight.columns[{first}]; name each column once");
                reader.fault(at, problem);
            }
            None => columns.push((position, column)),
        }
    }
    columns.into_iter().map(|(_, column)| column).collect()
}

fn column(entry: &Json, at: &str, reader: &mut Reader) -> Option<Column> {
    let Some(fields) = entry.as_fields() else {
        let problem = format!("is {entry}; write {{\"name\": \"income\", \"min\": 0, \"max\": 1000000}}");
        reader.fault(at, problem);
        return None;
    };
    reader.refuse_unknown(at, fields, &["name", "index", "min", "max"]);
    let key = match (fields.get("name"), fields.get("index")) {
        (Some(name), None) => named(name, at, reader)?,
        (None, Some(index)) => indexed(index, at, reader)?,
        (Some(_), Some(_)) | (None, None) => {
            let problem = "needs either \"name\" or, where rows are lists, \"index\"; write one of them";
            reader.fault(at, problem);
            return None;
        }
    };
    let min = limit(fields, "min", f64::NEG_INFINITY, at, reader)?;
    let max = limit(fields, "max", f64::INFINITY, at, reader)?;
    if let Some((least, most)) = fields.get("min").zip(fields.get("max")).filter(|_| min > max) {
        reader.fault(format!("{at}.min"), format!("is {least}, above the max of {most}; exchange them"));
        return None;
    }
    Some(Column { key, min, max })
}

fn named(name: &Json, at: &str, reader: &mut Reader) -> Option<Key> {
    let is_name =
        |name: &&str| (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    let text = name.as_text().filter(is_name);
    if text.is_none() {
        let problem = format!("is {name}; write a text of 1 to {LONGEST_NAME} bytes");
        reader.fault(format!("{at}.name"), problem);
    }
    text.map(|name| Key::Name(name.to_owned()))
}

fn indexed(index: &Json, at: &str, reader: &mut Reader) -> Option<Key> {
    match index {
        Json::Whole(index @ 0..=LARGEST_INDEX) => u32::try_from(*index).ok().map(Key::Index),
        other => {
            let problem = format!("is {other}; write a whole number from 0 to {LARGEST_INDEX}");
            reader.fault(format!("{at}.index"), problem);
            None
        }
    }
}

fn limit(fields: &Fields, field: &str, default: f64, at: &str, reader: &mut Reader) -> Option<f64> {
    let Some(value) = fields.get(field) else { return Some(default) };
    let number = value.as_f64();
    if number.is_none() {
        reader.fault(format!("{at}.{field}"), format!("is {value}; write a number, or leave it out"));
    }
    number
}
